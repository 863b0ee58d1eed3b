/** What a loader is told. */

export type Fill = 'target' | 'none';

export interface LoadRules {
  readonly strict: boolean;
  readonly skipMismatched: boolean;
  readonly skipUnsupported: boolean;
  /** Take what the source lacks, or what does not fit, from the target's own values. */
  readonly fill: Fill;
  /** Take the target's own values for the processors' statistics, whatever the source has. */
  readonly refreshStates: boolean;
  readonly refreshTendencies: boolean;
  /** Take along everything that the source keeps beside its weights. */
  readonly keepTrainingState?: boolean;
  /** Taken away from names of the source that begin with it, before they are compared with the target's. */
  readonly stripPrefix?: string | undefined;
  /** Put in front of all of them after that. */
  readonly addPrefix?: string | undefined;
}
