// Drives the official TypeScript client, as driver.py does the Python one.
//
//   driver.mjs [--header NAME=VALUE]... URL
//   driver.mjs -- COMMAND [ARGUMENT]...

import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

function transport(given) {
  const headers = {};
  while (given[0] === "--header") {
    const [name, ...value] = given[1].split("=");
    headers[name] = value.join("=");
    given = given.slice(2);
  }
  if (given[0] === "--") {
    const [, command, ...args] = given;
    return new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" });
  }
  return new StreamableHTTPClientTransport(new URL(given[0]), { requestInit: { headers } });
}

const result = (of) => ({
  structured: of.structuredContent ?? null,
  text: of.content.map((block) => block.text ?? "").join(""),
  is_error: of.isError ?? false,
});

const call = (client, line, options) =>
  client.callTool({ name: line.tool, arguments: line.arguments }, undefined, options);

async function cancel(client, line) {
  const leaving = new AbortController();
  setTimeout(() => leaving.abort(), line.after * 1000);
  try {
    await call(client, line, { signal: leaving.signal });
    return { cancelled: false };
  } catch {
    return { cancelled: leaving.signal.aborted };
  }
}

async function stores(client, line) {
  const failed = [];
  let next = 0;
  const worker = async () => {
    while (next < line.count) {
      const content = `${line.prefix} number ${next++}`;
      try {
        const stored = result(await call(client, { tool: "store_fact", arguments: { content } }));
        if (stored.is_error) failed.push(stored.text);
      } catch (error) {
        failed.push(String(error));
      }
    }
  };
  await Promise.all(Array.from({ length: line.at_once }, worker));
  return { failed };
}

async function act(client, line) {
  switch (line.do) {
    case "info":
      return {
        version: client.transport.protocolVersion ?? null,
        server: client.getServerVersion(),
        instructions: client.getInstructions(),
      };
    case "tools":
      return (await client.listTools()).tools;
    case "call":
      return result(await call(client, line));
    case "cancel":
      return await cancel(client, line);
    case "stores":
      return await stores(client, line);
    case "resources":
      return (await client.listResources()).resources;
    case "templates":
      return (await client.listResourceTemplates()).resourceTemplates;
    case "read":
      return (await client.readResource({ uri: line.uri })).contents;
    case "prompts":
      return (await client.listPrompts()).prompts;
    case "prompt":
      return (await client.getPrompt({ name: line.prompt, arguments: line.arguments })).messages;
  }
  throw new Error(line.do);
}

const say = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);

const client = new Client({ name: "kenning-tests", version: "1" });
await client.connect(transport(process.argv.slice(2)));
// Outputs are checked against the schemas that were listed.
await client.listTools();
say({ n: 0, ok: "connected" });
const under_way = new Set();
for await (const text of createInterface({ input: process.stdin })) {
  const line = JSON.parse(text);
  const done = act(client, line).then(
    (ok) => say({ n: line.n, ok }),
    (error) => say({ n: line.n, error: String(error) }),
  );
  under_way.add(done);
  done.finally(() => under_way.delete(done));
}
await Promise.all(under_way);
await client.close();
