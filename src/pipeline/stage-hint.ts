/** What is probably meant by a stage that has no `type`. Workflow-safe. */
import { isMapping } from '../model/json.ts';

/** As types are named, in full and in short. */
const TYPE = /^[a-z][a-z0-9_]*(\.[a-z0-9_]+)?$/;

/** How it is written: `- source.local` and `- source.local: {path: …}` are as other programs have it. Empty where nothing is known. */
export function stageHint(given: unknown): string {
  if (typeof given === 'string') return TYPE.test(given) ? ` Write \`- type: ${given}\`.` : '';
  const [[key, value] = ['', ''], ...others] = isMapping(given) ? Object.entries(given) : [];
  if (others.length > 0 || !TYPE.test(key) || !(value === null || isMapping(value))) return '';
  const options = isMapping(value) ? Object.keys(value).slice(0, 3) : [];
  return ` Write \`- type: ${key}\`${options.length === 0 ? '' : `, and below it its options: \`${options.join('`, `')}\``}.`;
}
