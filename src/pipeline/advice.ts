/** What to do about an error, by its code and reason: one line for people, in `details.suggestion`. Workflow-safe. */
import type { ErrorCode, ErrorReport } from '../errors.ts';

const BY_REASON: Readonly<Record<string, string>> = {
  weights_never_loaded: 'Put a loader after the source, and look at the stages that failed before it.',
  unsupported_tensors: 'Leave them out with `skip_unsupported: true`.',
  out_of_memory: 'Give the worker more memory, or let it do less at once; the run can be started again.',
  stage_code: 'Mend the plug-in that defines the stage, and start the workers anew.',
  terminated: 'Run it again. `ckpt cancel` ends a run so that it cleans up first, `ckpt batch cancel` a batch.',
  run_timed_out: 'Run it again with a larger execution or run timeout of Temporal, or with none: stages have time limits of their own.',
  worker_stopped:
    'Run it again where a worker is up; more attempts (`max_retries`) let a run outlive more stops. Stopping a worker ends the attempts that it has begun.',
  out_of_files:
    'Let the process open more files: `ulimit -n 1024` before it is started, `LimitNOFILE=1024` of a service. `ckpt doctor` looks at it.',
  unreadable: 'Let the user of the worker, or of this command, read the file and enter the folders above it (`ls -l`, `chmod`).',
  no_room: 'Free some space there, or give another `uri`, and run it again; a run that waits goes on with `ckpt resolve`.',
  workspace_full: 'Free some space there (`ckpt gc`), or name another folder; then run it again.',
  workspace_unwritable: 'Give the user of the worker the right to write there, or name another folder.',
  unwritable: 'Give another `uri`, or the worker (not only this user) the right to write there.',
  unknown_stage:
    'The worker does not have that stage. Where a plug-in defines it, start the worker with `--plugins` of it (`ckpt worker --plugins …`); else correct the document.',
  folder: 'Give the path of one checkpoint file, or of the index of its shards.',
  unsafe: 'Do not load the file elsewhere, and find out who wrote it: `ckpt scan` lists every name in its pickles.',
  no_tensors: 'Look at the source with `ckpt inspect`: nothing was published, and what was there before is as it was.',
  no_state_dict:
    'Name the key of the weights: `state_dict_key` of the source, `target_state_dict_key` for a target, `--state-dict-key` of `ckpt inspect`, `convert`, `diff` and `verify`. Where no key holds tensors, save `model.state_dict()`.',
  target_required:
    'Say with `target` of the loader which model the weights must fit: a checkpoint of it, or a JSON spec of its names and shapes. `loader.weights_only` without `strict` takes all of the source and needs none.',
  own_source: 'Publish to another place: `uri` of sink.publish, the second argument of `ckpt convert`.',
  not_waiting: 'Look at the run with `ckpt status`.',
  not_heard:
    'Look whether the worker is up, and why it was not heard of: its log, `dmesg` for a process that was killed for lack of memory, the load of the machine. Give it more memory, or let it do less at once; the run can be started again.',
  missing_fields: 'Put a source before loaders, and a loader before modifiers and sinks.',
};

const BY_CODE: Readonly<Record<ErrorCode, string>> = {
  CheckpointError: 'Read the message; `--debug` shows more.',
  CheckpointNotFoundError: 'Check the path or URI, and that the worker (not only this machine) sees it.',
  CheckpointLoadError:
    'The file is damaged or no checkpoint: `ckpt inspect` and `ckpt verify` show how far it can be read. Save or copy it again.',
  CheckpointIncompatibleError:
    'Compare source and target with `ckpt diff`; let names fit with `strip_prefix` and `add_prefix` of the loader, or `loader.transfer_learning` take what fits.',
  CheckpointValidationError: 'The content breaks the rule that the message names: `ckpt inspect` shows what is in the file.',
  CheckpointConfigError: 'Correct what the message names: `ckpt validate` checks a document, `ckpt stages` lists stages and options.',
  CheckpointSourceError: 'Check the storage, the network and the credentials of the worker; then run it again.',
  CheckpointTimeoutError: 'Is a worker up (`ckpt worker`)? Otherwise give the stage a larger `timeout`.',
};

function reasonOf({ details }: ErrorReport): unknown {
  if (Array.isArray(details['missing_fields'])) return 'missing_fields';
  return details['timeout_type'] === 'HEARTBEAT' ? 'not_heard' : details['reason'];
}

/** The reason's own advice before that of the code. */
export function suggestionFor(report: ErrorReport): string {
  const { type } = report;
  const reason = reasonOf(report);
  const byReason = typeof reason === 'string' && Object.hasOwn(BY_REASON, reason) ? BY_REASON[reason] : undefined;
  return byReason ?? (Object.hasOwn(BY_CODE, type) ? BY_CODE[type as ErrorCode] : BY_CODE.CheckpointError);
}
