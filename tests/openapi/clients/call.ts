// Calls the server at the URL in argv[2] with the generated types.
import createClient from "openapi-fetch";
import type { paths } from "./generated.js";

declare const process: { argv: string[] };

const client = createClient<paths>({ baseUrl: process.argv[2] });

/** How openapi-fetch sends a body as it is. */
const octets = {
  headers: { "content-type": "application/octet-stream" },
  bodySerializer: (body: unknown) => body as string,
};

function check(holds: boolean, what: unknown): void {
  if (!holds) throw new Error(JSON.stringify(what));
}

const stored = await client.POST("/v1/facts", {
  body: { text: "Ada prefers tea.", fact_id: "tea" },
});
check(stored.data?.fact_id === "tea", stored);

const fact = await client.GET("/v1/facts/{id}", { params: { path: { id: "tea" } } });
check(fact.data?.content === "Ada prefers tea.", fact);

const missing = await client.GET("/v1/facts/{id}", { params: { path: { id: "coffee" } } });
check(missing.error?.code === "not_found", missing);

const imported = await client.POST("/v1/import", {
  ...octets,
  body: JSON.stringify({ id: "port", content: "The port is 7171." }),
});
check(imported.data?.imported === 1, imported);

const answer = await client.POST("/v1/search", {
  body: { query: "port" },
});
check(answer.data?.results[0]?.doc_id === "port", answer);

const refused = await client.POST("/v1/admin/logic", { ...octets, body: "no component" });
check(refused.error?.code === "incompatible_component", refused);
