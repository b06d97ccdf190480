/** Returns the fact with a greeting in its metadata, which is a JSON object as text. */
export function greeted(fact) {
  const metadata = { ...JSON.parse(fact.metadata), greeting: 'hello from {{name}}' };
  return { ...fact, metadata: JSON.stringify(metadata) };
}
