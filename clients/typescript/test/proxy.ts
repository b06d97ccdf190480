/** A proxy in front of a server that can fail in the ways in which networks and proxies do. */

import { once } from "node:events";
import {
  createServer,
  request as send,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** What happens to a request. */
export type Fault =
  | "pass"
  /** The connection is cut before the server has the request. */
  | "cut before"
  /** The server does it, and the connection is cut before the answer. */
  | "cut after"
  /** The connection is cut after this many bytes of the answer's body. */
  | { cutAt: number }
  /** Nobody answers, and the server does not have it. */
  | "hang"
  /** The server does it, and nobody answers. */
  | "hang after"
  | { status: number; headers?: Record<string, string>; body?: string };

/** A request that came. */
export interface Seen {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

export class Proxy {
  readonly url: string;
  /** Every request that came, in order. */
  readonly seen: Seen[] = [];
  /** Pages and scripts that the proxy serves itself, by path: type and text. */
  readonly files = new Map<string, [string, string]>();
  /** What happens to the next requests, one each; then they pass. */
  faults: Fault[] = [];
  readonly #server: HttpServer;
  readonly #to: string;

  private constructor(to: string, server: HttpServer) {
    this.#to = to;
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  static async before(url: string): Promise<Proxy> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Proxy(url, server);
  }

  /** Requests with this method and path, without the query. */
  count(method: string, path: string): number {
    return this.seen.filter((one) => one.method === method && one.path.split("?")[0] === path).length;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const file = this.files.get(request.url ?? "");
    if (file !== undefined) {
      response.writeHead(200, { "content-type": file[0] }).end(file[1]);
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const { method = "", url: path = "", headers } = request;
    this.seen.push({ method, path, headers, body: body.toString() });
    const fault = this.faults.shift() ?? "pass";
    if (fault === "cut before") response.destroy();
    else if (fault === "hang") return;
    else if (typeof fault === "object" && "status" in fault) {
      response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
    } else await this.#forward(request, body, response, fault);
  }

  async #forward(
    request: IncomingMessage,
    body: Buffer,
    response: ServerResponse,
    fault: Exclude<Fault, { status: number }>,
  ): Promise<void> {
    const { method, headers } = request;
    // `Host` passes, so that a page of this proxy is a page of the server.
    const options = { method, headers: { ...headers, connection: "close" } };
    const forwarded = send(this.#to + (request.url ?? ""), options);
    forwarded.on("error", () => response.destroy());
    response.on("close", () => forwarded.destroy());
    forwarded.end(body);
    const [answer] = (await once(forwarded, "response")) as [IncomingMessage];
    if (fault === "cut after" || fault === "hang after") {
      answer.resume();
      await once(answer, "end");
      if (fault === "cut after") response.destroy();
      return;
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    response.flushHeaders();
    let left = typeof fault === "object" && "cutAt" in fault ? fault.cutAt : Infinity;
    for await (const chunk of answer) {
      const bytes = (chunk as Buffer).subarray(0, left);
      left -= bytes.length;
      response.write(bytes);
      if (left > 0) continue;
      // What was written is sent before the connection is cut.
      response.socket?.end(() => response.destroy());
      return;
    }
    response.end();
  }
}
