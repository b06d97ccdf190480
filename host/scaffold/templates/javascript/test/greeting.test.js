import assert from 'node:assert/strict';
import { test } from 'node:test';

import { greeted } from '../src/greeting.js';

test('every fact is greeted', () => {
  const fact = { id: 'a', text: 'Tea is hot.', metadata: '{"topic":"tea"}' };
  const metadata = JSON.parse(greeted(fact).metadata);
  assert.deepEqual(metadata, { topic: 'tea', greeting: 'hello from {{name}}' });
});
