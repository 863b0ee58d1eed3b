/** The judgement over a run that has ended, from its history and record: goes into the record, and fails nothing. */
import type { JsonObject } from '../errors.ts';
import type { StageRecord } from './contract.ts';
import { isLoader, isSink, isSource } from './stage-kinds.ts';

/** One line for each finding; a run without stages is healthy. */
export function healthIssues(history: readonly StageRecord[], metadata: JsonObject, weightsLoaded: boolean): readonly string[] {
  const failed = history.filter(({ status }) => status === 'failed' || status === 'skipped');
  const broken = ['validation_environment_status', 'validation_config_status'].filter((key) => metadata[key] === 'error');
  const read = history.some(({ type, status }) => isSource(type) && status === 'completed');
  const wanted = history.some(({ type }) => isLoader(type) || isSink(type));
  return [
    ...failed.map(({ index, type, status }) => `stage ${index + 1} (${type}) ${status === 'failed' ? 'failed' : 'failed and was skipped'}`),
    ...broken.map((key) => `${key} is error`),
    ...(read && wanted && !weightsLoaded ? ['a source was read, but no weights were loaded'] : []),
  ];
}

export function healthRecord(issues: readonly string[]): JsonObject {
  return { health: issues.length === 0 ? 'ok' : 'error', ...(issues.length === 0 ? {} : { health_issues: issues.slice(0, 20) }) };
}
