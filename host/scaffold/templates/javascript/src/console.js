// Sends the output of `console` to the extension's log.

import { log } from 'kenning:knowledge/log@0.1.0';

function shown(part) {
  return typeof part === 'string' ? part : (JSON.stringify(part) ?? String(part));
}

function logAt(level) {
  return (...parts) => log(level, parts.map(shown).join(' '));
}

globalThis.console = {
  debug: logAt('debug'),
  log: logAt('info'),
  info: logAt('info'),
  warn: logAt('warn'),
  error: logAt('error'),
};
