// What is said with `console` becomes lines of the extension's log.

import { log } from 'kenning:knowledge/log@0.1.0';

function shown(part) {
  return typeof part === 'string' ? part : (JSON.stringify(part) ?? String(part));
}

function saying(level) {
  return (...parts) => log(level, parts.map(shown).join(' '));
}

globalThis.console = {
  debug: saying('debug'),
  log: saying('info'),
  info: saying('info'),
  warn: saying('warn'),
  error: saying('error'),
};
