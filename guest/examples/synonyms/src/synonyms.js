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

/** Maximum number of words and phrases added to a query. More would outweigh the query. */
const ADDED = 12;

const BETWEEN_WORDS = /[^\p{L}\p{N}]+/u;

/** Prepares groups for comparison. For GROUPS, this runs when the component is built. */
export function prepared(groups) {
  return groups.map((group) => group.map((phrase) => ({ phrase, words: ` ${normal(phrase)} ` })));
}

const PREPARED = prepared(GROUPS);

/** Appends the synonyms of a query's words and phrases. */
export function expand(text, groups = PREPARED) {
  const asked = ` ${normal(text)} `;
  const has = ({ words }) => asked.includes(words);
  const synonyms = groups.filter((group) => group.some(has)).flat();
  const added = synonyms.filter((synonym) => !has(synonym)).map(({ phrase }) => phrase);
  return [text, ...new Set(added.slice(0, ADDED))].join(' ');
}

/** Converts to lower case and replaces everything but letters and digits by single spaces. */
function normal(text) {
  return text.toLowerCase().split(BETWEEN_WORDS).filter(Boolean).join(' ');
}
