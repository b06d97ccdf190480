import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Kenning, KenningError, type KenningOptions } from "../src/index.js";
import { Proxy } from "./proxy.js";
import { Server } from "./server.js";

/** A server and a proxy for the tests of one file. Each test has a tenant of its own. */
export interface World {
  server: Server;
  proxy: Proxy;
  /** A client of a new tenant, straight to the server. */
  client(options?: KenningOptions): Kenning;
  /** A client of a new tenant, through the proxy. */
  through(options?: KenningOptions): Kenning;
}

export function world(): World {
  const world = {} as World;
  let tenants = 0;
  const client = (server: string, options?: KenningOptions): Kenning => {
    tenants += 1;
    return new Kenning({ server, tenant: `t${tenants}`, ...options });
  };
  before(async () => {
    world.server = await Server.start();
    world.proxy = await Proxy.before(world.server.url);
    world.client = (options) => client(world.server.url, options);
    world.through = (options) => {
      world.proxy.faults = [];
      world.proxy.seen.length = 0;
      return client(world.proxy.url, options);
    };
  });
  after(async () => {
    world.proxy?.close();
    await world.server?.remove();
  });
  return world;
}

/** The error of a call that must fail. */
export async function failure(call: Promise<unknown>): Promise<KenningError> {
  let error: unknown;
  try {
    await call;
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error instanceof KenningError, `a KenningError, not ${String(error)}`);
  return error;
}

/** All that an iterator gives. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** The header of a 503 that asks to come again in a second, as the server writes it. */
export const overloaded = {
  status: 503,
  headers: { "content-type": "application/json", "retry-after": "1", "x-request-id": "busy-1" },
  body: JSON.stringify({
    status: "error",
    code: "overloaded",
    message: "the server is busy: all 128 of its concurrent_calls are in use; try again",
    retryable: true,
    blame: "host",
    details: { limit: "concurrent_calls", allowed: 128 },
  }),
};

/** The same without a wait. */
export const busy = {
  ...overloaded,
  headers: { "content-type": "application/json", "x-request-id": "busy-2" },
};
