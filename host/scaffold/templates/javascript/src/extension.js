// The hooks. Their logic is in greeting.js, which also runs outside WebAssembly.

import './console.js';
import { greeted } from './greeting.js';

export const onRead = {
  onRead(facts) {
    return facts.map(greeted);
  },
};

// To add a hook, export it in wit/world.wit and here. To refuse a draft or a query, throw a refusal
// of the contract: throw { message: 'what is wrong and how to fix it' }.
