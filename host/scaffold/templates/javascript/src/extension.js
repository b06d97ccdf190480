// The hooks. What they do stands in greeting.js, which runs anywhere.

import './console.js';
import { greeted } from './greeting.js';

export const onRead = {
  onRead(facts) {
    return facts.map(greeted);
  },
};

// Another hook: export it in wit/world.wit, and here. To refuse a draft or a query, throw what
// the contract calls a refusal: throw { message: 'what is wrong and what to do' }.
