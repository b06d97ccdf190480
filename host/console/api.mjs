// The public API. Keys are in this module's memory and nowhere else.

/** Who asks. `isOpen` says whether the server has keys; `null` until that is known. */
export const session = { isOpen: null, adminKey: "", tenantKey: "", tenant: "default" };

const listeners = new Set();

/** Calls `listener` whenever who asks has changed. */
export function onSession(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function changeSession(changes) {
  Object.assign(session, changes);
  for (const listener of listeners) listener(session);
}

/** An error of the API, or of the way to it. */
export class ApiError extends Error {
  constructor(body, status, requestId) {
    super(body?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body?.code ?? "unknown";
    this.details = body?.details ?? {};
    this.body = body ?? {};
    this.requestId = requestId;
    this.retryable = Boolean(body?.retryable);
  }
}

/** Whether the caller gave up the request itself. */
export const isAbort = (error) => error?.name === "AbortError";

function headersFor(path, { type, accept, headers, tenant }) {
  const all = new Headers(headers);
  if (type) all.set("content-type", type);
  if (accept) all.set("accept", accept);
  const key = path.startsWith("/v1/admin") ? session.adminKey : session.tenantKey;
  if (key) all.set("authorization", `Bearer ${key}`);
  if (session.isOpen !== false) all.set("x-kenning-tenant", tenant ?? session.tenant);
  return all;
}

function addressOf(path, query) {
  const given = Object.entries(query ?? {}).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  const text = new URLSearchParams(given).toString();
  return text ? `${path}?${text}` : path;
}

/** Sends a request; the answer is whatever the server says, also if that is an error. */
export async function send(method, path, options = {}) {
  const { query, json, signal } = options;
  const body = json === undefined ? options.body : JSON.stringify(json);
  const type = options.type ?? (json === undefined ? undefined : "application/json");
  try {
    return await fetch(addressOf(path, query), {
      method,
      body,
      signal,
      headers: headersFor(path, { ...options, type }),
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
      credentials: "omit",
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(
      {
        code: "unreachable",
        message: "The server does not answer. Is it running, and is the network there?",
        retryable: true,
      },
      0,
    );
  }
}

/** Sends a request and returns the JSON of its answer; an error of the API is thrown. */
export async function api(method, path, options = {}) {
  const response = await send(method, path, options);
  const text = await response.text();
  const body = parsed(text);
  if (!response.ok) throw failure(response, body);
  if (options.whole) return { body, headers: response.headers, status: response.status };
  return body;
}

export const get = (path, query, options) => api("GET", path, { query, ...options });

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

/** Which key a refused request needs: `operator` or `tenant`; `undefined` if it is not for want of one. */
function keyFor({ status }, path) {
  if (path.startsWith("/v1/admin")) return status === 401 && session.isOpen !== true ? "operator" : undefined;
  return status === 401 ? "tenant" : undefined;
}

/** The last failures of this tab, newest first. */
export const failed = [];

/** The error that an answer is. */
export function failure(response, body) {
  const error = new ApiError(body, response.status, response.headers.get("x-request-id"));
  const { pathname } = new URL(response.url, location.href);
  if (!pathname.startsWith("/v1/admin/requests"))
    failed.unshift({ error, path: pathname, time: new Date().toISOString() });
  failed.length = Math.min(failed.length, 50);
  error.needs = keyFor(error, pathname);
  if (error.needs) document.dispatchEvent(new CustomEvent("kenning-key-wanted", { detail: error }));
  return error;
}

/** The events of a stream, as `{ event, data, id }`. Ends with the stream. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop();
      for (const block of blocks) {
        const one = { event: "message", data: "", id: "" };
        for (const line of block.split(/\r?\n/)) {
          const at = line.indexOf(":");
          if (at < 1) continue;
          const [name, rest] = [line.slice(0, at), line.slice(at + 1).replace(/^ /, "")];
          if (name === "data") one.data += (one.data ? "\n" : "") + rest;
          else if (name in one) one[name] = rest;
        }
        yield one;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Follows a tenant's changes until `signal`; connects again when the stream ends. */
export async function follow(signal, onChange, onState) {
  let after = "";
  while (!signal.aborted) {
    try {
      const headers = after ? { "last-event-id": after } : {};
      const response = await send("GET", "/v1/changes", { signal, headers, accept: "text/event-stream" });
      if (!response.ok) throw failure(response, parsed(await response.text()));
      onState(true);
      for await (const one of events(response)) {
        if (one.id) after = one.id;
        if (one.data && one.event !== "message") onChange(one.event, parsed(one.data) ?? {});
      }
    } catch (error) {
      if (isAbort(error)) return;
      if (error.status === 401 || error.status === 403) return void onState(false);
    }
    onState(false);
    await new Promise((next) => setTimeout(next, 1000));
  }
}

/** Installs or proves a component; `onStep` hears what the server is doing. Returns the report. */
export async function swap(path, method, bytes, query, onStep, signal) {
  const options = { query, body: bytes, type: "application/wasm", accept: "text/event-stream", signal };
  const response = await send(method, path, options);
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("text/event-stream")) {
    const body = parsed(await response.text());
    if (!response.ok) throw failure(response, body);
    return body;
  }
  for await (const one of events(response)) {
    const data = parsed(one.data);
    if (one.event === "progress") onStep(data);
    if (one.event === "answer") {
      if (data.status >= 400) throw new ApiError(data.body, data.status, response.headers.get("x-request-id"));
      return data.body;
    }
  }
  throw new ApiError({ code: "unreachable", message: "The server ended the connection before it answered." }, 0);
}

/** Finds out whether the server has keys. */
export async function probe() {
  const response = await send("GET", "/v1/stats");
  const body = parsed(await response.text());
  if (response.ok) {
    if (session.isOpen === null) changeSession({ isOpen: true });
    return;
  }
  if (response.status === 401 || response.status === 403) changeSession({ isOpen: false });
  else if (session.isOpen === null) changeSession({ isOpen: true });
  if (response.status !== 401) throw failure(response, body);
}

/** Which kind of key this is: `tenant` with its name, or `admin`. Throws if it is neither. */
export async function identify(key) {
  const headers = new Headers({ authorization: `Bearer ${key}` });
  const response = await fetch("/v1/stats", { headers, cache: "no-store", credentials: "omit" });
  const body = parsed(await response.text());
  if (response.ok) return { kind: "tenant", tenant: body.tenant };
  if (response.status === 403) return { kind: "admin" };
  throw new ApiError(body, response.status, response.headers.get("x-request-id"));
}
