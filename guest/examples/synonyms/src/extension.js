// The hook. The logic is in synonyms.js, which runs in any JavaScript engine.

import { expand } from './synonyms.js';

export const onQuery = {
  // To reject a query: throw { message: 'what is wrong and how to fix it' }.
  onQuery(query) {
    // Embeddings already cover synonyms.
    return query.mode === 'vector' ? query : { ...query, text: expand(query.text) };
  },
};
