// The hook. What it does stands in synonyms.js, which runs anywhere.

import { expand } from './synonyms.js';

export const onQuery = {
  // To refuse a query: throw { message: 'what is wrong and what to do' }.
  onQuery(query) {
    // A search by meaning alone knows synonyms by itself.
    return query.mode === 'vector' ? query : { ...query, text: expand(query.text) };
  },
};
