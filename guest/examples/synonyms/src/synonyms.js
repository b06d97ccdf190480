/** Words and phrases that mean the same to this tenant. */
const GROUPS = [
  ['k8s', 'kubernetes'],
  ['pg', 'postgres', 'postgresql'],
  ['db', 'database'],
  ['repo', 'repository'],
  ['2fa', 'mfa', 'two-factor authentication'],
  ['pto', 'vacation', 'annual leave'],
  ['cto', 'chief technology officer'],
];

/** Words and phrases added to one query at most: more would drown what was asked. */
const ADDED = 12;

const BETWEEN_WORDS = /[^\p{L}\p{N}]+/u;

/** Groups as they are compared. What runs here runs when the component is built. */
export function prepared(groups) {
  return groups.map((group) => group.map((phrase) => ({ phrase, words: ` ${normal(phrase)} ` })));
}

const PREPARED = prepared(GROUPS);

/** A query with the synonyms of its words and phrases behind it. */
export function expand(text, groups = PREPARED) {
  const asked = ` ${normal(text)} `;
  const has = ({ words }) => asked.includes(words);
  const synonyms = groups.filter((group) => group.some(has)).flat();
  const added = synonyms.filter((synonym) => !has(synonym)).map(({ phrase }) => phrase);
  return [text, ...new Set(added.slice(0, ADDED))].join(' ');
}

/** Lower case, and one space for all that is neither letter nor digit. */
function normal(text) {
  return text.toLowerCase().split(BETWEEN_WORDS).filter(Boolean).join(' ');
}
