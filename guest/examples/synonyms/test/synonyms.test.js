import assert from 'node:assert/strict';
import { test } from 'node:test';

import { onQuery } from '../src/extension.js';
import { expand, prepared } from '../src/synonyms.js';

test('the synonyms of a word are appended', () => {
  assert.equal(expand('Where is the k8s cluster?'), 'Where is the k8s cluster? kubernetes');
  assert.equal(expand('PG, please'), 'PG, please postgres postgresql');
});

test('a phrase is matched as a whole', () => {
  assert.equal(expand('Two-factor  authentication'), 'Two-factor  authentication 2fa mfa');
  assert.equal(expand('the two factors'), 'the two factors');
});

test('present words are not added, and parts of words do not match', () => {
  assert.equal(expand('db database'), 'db database');
  assert.equal(expand('dbx reports'), 'dbx reports');
  assert.equal(expand(''), '');
});

test('the number of added synonyms is limited', () => {
  const group = ['a', ...Array.from({ length: 100 }, (_, n) => `word${n}`)];
  assert.equal(expand('a', prepared([group])).split(' ').length, 13);
});

test('the hook changes only the text', () => {
  const query = { text: 'db', topK: 3, mode: 'hybrid', fusion: 'score', explain: true };
  assert.deepEqual(onQuery.onQuery(query), { ...query, text: 'db database' });
  const byMeaning = { ...query, mode: 'vector' };
  assert.deepEqual(onQuery.onQuery(byMeaning), byMeaning);
});
