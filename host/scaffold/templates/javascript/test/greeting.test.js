import assert from 'node:assert/strict';
import { test } from 'node:test';

import { onRead } from '../src/extension.js';

test('every fact is greeted', () => {
  const fact = { id: 'a', text: 'Tea is hot.', metadata: '{"topic":"tea"}' };
  const [left] = onRead.onRead([fact]);
  const metadata = JSON.parse(left.metadata);
  assert.deepEqual(metadata, { topic: 'tea', greeting: 'hello from {{name}}' });
});
