// Deletions that can be taken back: the server is asked only after a few seconds.

import { api, session } from "./api.mjs";
import { complain, say } from "./feedback.mjs";

/** How long a deletion can be taken back. */
export const GRACE = 6000;

const marked = new Map();
const listeners = new Set();

export const isMarked = (id) => marked.has(key(id));

/** Calls `listener` whenever a fact is marked, unmarked or gone. */
export function onDeletion(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const key = (id) => `${session.tenant} ${id}`;
const tell = () => listeners.forEach((listener) => listener());

/** Marks a fact. Until the time is up nothing is sent, so a closed tab keeps the fact. */
export function remove(id) {
  const [mine, tenant] = [key(id), session.tenant];
  if (marked.has(mine)) return;
  const timer = setTimeout(async () => {
    try {
      await api("DELETE", `/v1/facts/${encodeURIComponent(id)}`, { tenant });
    } catch (error) {
      if (error.status !== 404) complain(error, `${id} was not deleted`);
    }
    marked.delete(mine);
    tell();
  }, GRACE);
  marked.set(mine, timer);
  tell();
  say(`${id} will be deleted in ${GRACE / 1000} seconds.`, {
    stays: GRACE,
    actions: [
      [
        "Undo",
        () => {
          clearTimeout(timer);
          marked.delete(mine);
          tell();
          say(`${id} stays.`);
        },
      ],
    ],
  });
}
