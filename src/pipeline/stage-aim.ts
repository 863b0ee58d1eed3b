/** What a stage is about to do, in a few words: the UI shows them behind the activity's type. Pure and workflow-safe. */
import type { Json } from '../errors.ts';
import type { CheckpointContext } from '../model/context.ts';
import { formatBytes, formatCount } from '../model/text.ts';
import type { StageRecord, StageSpec } from './contract.ts';
import { optionsOf } from './document.ts';
import { isSource } from './stage-kinds.ts';

/** Of one line: the timeline writes it beside a bar. */
const MOST_CHARACTERS = 100;

/** `before` are the records of the stages that have run. */
export function stageAim(stage: StageSpec, { planned }: CheckpointContext, before: readonly StageRecord[]): string {
  const options = optionsOf(stage);
  const place = ['path', 'url', 'uri'].map((option) => options[option]).find((value) => typeof value === 'string');
  const kind = stage.type.slice(0, stage.type.indexOf('.'));
  let aim: string;
  if (kind === 'source') aim = nameOf(place);
  else if (kind === 'loader') aim = [sourceOf(before), targetOf(options['target'])].filter((part) => part !== '').join(' → ');
  else if (kind === 'sink' && planned !== undefined)
    aim = `${formatCount(planned.tensors, 'tensor')}, ${formatBytes(planned.bytes)} → ${nameOf(place)}`;
  else aim = place === undefined ? optionsText(options) : nameOf(place);
  return (aim === '' ? stage.type : aim).slice(0, MOST_CHARACTERS);
}

function nameOf(place: Json | undefined): string {
  const text = typeof place === 'string' ? place.replace(/[?#].*$/s, '').replace(/\/+$/, '') : '';
  return text.slice(text.lastIndexOf('/') + 1);
}

/** What the last source has found, without the size of the file. */
function sourceOf(before: readonly StageRecord[]): string {
  const source = before.findLast(({ type, status }) => isSource(type) && status === 'completed');
  return source?.summary?.replace(/ of [^,]*$/, '') ?? '';
}

function targetOf(target: Json | undefined): string {
  if (target === undefined) return '';
  return typeof target === 'string' ? nameOf(target) : `a spec of ${formatCount(Object.keys(target ?? {}).length, 'tensor')}`;
}

/** One option by its value alone, several by name. */
function optionsText(options: Readonly<Record<string, Json>>): string {
  const entries = Object.entries(options);
  if (entries.length === 1) return valueText(entries[0]![1]);
  return entries.map(([name, value]) => `${name}: ${valueText(value)}`).join('; ');
}

function valueText(value: Json): string {
  if (Array.isArray(value)) return value.map(valueText).join(', ');
  if (typeof value === 'object' && value !== null) return Object.values(value).map(valueText).join(' → ');
  return String(value);
}
