/** A real server, started from the binary in `KENNING_BINARY`. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

export interface Setup {
  /** `127.0.0.1:PORT`; a free port if left out. */
  listen?: string;
  /** Where it keeps its facts; a new folder if left out. */
  folder?: string;
  env?: Record<string, string>;
}

export class Server {
  readonly url: string;
  readonly folder: string;
  readonly #process: ChildProcess;

  private constructor(url: string, folder: string, process: ChildProcess) {
    this.url = url;
    this.folder = folder;
    this.#process = process;
  }

  static async start(setup: Setup = {}): Promise<Server> {
    const binary = process.env["KENNING_BINARY"];
    if (binary === undefined) throw new Error("KENNING_BINARY names the server's binary");
    const folder = setup.folder ?? newFolder();
    const listen = setup.listen ?? "127.0.0.1:0";
    const child = spawn(
      binary,
      ["serve", "--listen", listen, "--data-dir", folder, "--embedder", "hash"],
      { stdio: ["ignore", "pipe", "pipe"], env: { ...clean(process.env), ...setup.env } },
    );
    let log = "";
    child.stderr.on("data", (text) => (log += text));
    const ended = once(child, "exit").then(() => {
      throw new Error(`the server did not start: ${log}`);
    });
    const started = (async () => {
      for await (const line of createInterface(child.stdout)) {
        const url = /^listening on (.*)$/.exec(line)?.[1];
        if (url !== undefined) return url;
      }
      return ended;
    })();
    ended.catch(() => {});
    return new Server(await Promise.race([started, ended]), folder, child);
  }

  /** Ends the server as an operator does, or as a crash does. Its folder stays. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, "exit");
    this.#process.kill(signal);
    await exited;
  }

  /** Ends it, and removes its folder. */
  async remove(): Promise<void> {
    await this.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A folder for a server's data, which takes compiled components from where others left them. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "kenning-client-"));
  const compiled = process.env["KENNING_COMPILED"];
  if (compiled !== undefined && existsSync(compiled)) {
    const key = join(folder, "components.key");
    writeFileSync(key, Buffer.alloc(32, 7));
    chmodSync(key, 0o600);
    mkdirSync(folder, { recursive: true });
    symlinkSync(compiled, join(folder, "components"));
  }
  return folder;
}

/**
 * A port of loopback that nobody listens on. It is below those that connections are made from, so
 * that it stays free while a server is restarted.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

/** The environment without what would change the server or a client. */
function clean(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("KENNING_")));
}
