/** What `--help` shows below the options of a command. A test holds every command to having some, and to their options being there. */
import type { Command } from 'commander';

/** By the words of the command. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  '': ['ckpt run examples/quickstart.yaml', 'ckpt convert last.ckpt weights.safetensors', 'ckpt doctor'],
  run: [
    'ckpt run pipeline.yaml',
    'ckpt run nightly.yaml --param run=17 --id nightly/17 --json',
    'TEMPORAL_ADDRESS=temporal:7233 ckpt run pipeline.yaml --detach',
  ],
  convert: [
    'ckpt convert last.ckpt weights.safetensors',
    'ckpt convert s3://training/last.ckpt model.safetensors --shard-size 5GB',
    'ckpt convert last.ckpt model.pt --training-state',
    'ckpt convert RealESRGAN.pth model.safetensors --state-dict-key params_ema',
  ],
  diff: ['ckpt diff before.ckpt after.safetensors', 'ckpt diff before.ckpt after.ckpt --values --json'],
  verify: ['ckpt verify weights.safetensors --manifest', 'ckpt verify s3://models/run-17/weights.safetensors'],
  inspect: ['ckpt inspect last.ckpt', 'ckpt inspect s3://training/last.ckpt --json'],
  scan: ['ckpt scan last.ckpt', 'ckpt scan s3://training/runs/', 'ckpt scan downloads/ --sarif > findings.sarif'],
  validate: ['ckpt validate pipeline.yaml', 'ckpt validate pipeline.yaml --param run=17 --json'],
  stages: ['ckpt stages', 'ckpt stages --plugins ./my-stages --json'],
  worker: [
    'ckpt worker',
    'ckpt worker --transfers 8 --memory 4GiB --health-port 8081 --metrics-port 9464',
    'ckpt worker --transfers 0    # light work only, beside workers with transfers',
  ],
  dev: ['ckpt dev', 'ckpt dev --plugins ./my-stages'],
  gc: ['ckpt gc --dry-run', 'ckpt gc --older-than 7'],
  status: ['ckpt status nightly/17', 'ckpt status nightly/17 --json'],
  cancel: ['ckpt cancel nightly/17'],
  resolve: ['ckpt resolve nightly/17 --retry', 'ckpt resolve nightly/17 --retry --set strict=false', 'ckpt resolve nightly/17 --skip'],
  report: ['ckpt report nightly/17', 'ckpt report nightly/17 --output nightly.html'],
  bundle: ['ckpt bundle nightly/17', 'ckpt bundle nightly/17 --output nightly.zip'],
  replay: ['ckpt replay nightly.zip'],
  'batch run': ['ckpt batch run batch.yaml', 'ckpt batch run batch.yaml --id nightly --detach'],
  'batch retry': ['ckpt batch retry nightly'],
  'batch status': ['ckpt batch status nightly --json'],
  'batch pause': ['ckpt batch pause nightly'],
  'batch resume': ['ckpt batch resume nightly'],
  'batch cancel': ['ckpt batch cancel nightly'],
  'schedule apply': ['ckpt schedule apply nightly.yaml', 'ckpt schedule apply nightly.yaml --param bucket=training --json'],
  'schedule create': [
    "ckpt schedule create nightly --pipeline scrub.yaml --cron '0 3 * * *' --time-zone Europe/Berlin",
    'ckpt schedule create hourly --batch batch.yaml --every 1h --overlap skip --paused',
  ],
  'schedule update': ["ckpt schedule update nightly --cron '0 4 * * *'", 'ckpt schedule update nightly --pipeline scrub.yaml'],
  'schedule list': ['ckpt schedule list', 'ckpt schedule list --json'],
  'schedule describe': ['ckpt schedule describe nightly'],
  'schedule pause': ["ckpt schedule pause nightly --note 'until the disk is there'"],
  'schedule unpause': ['ckpt schedule unpause nightly'],
  'schedule trigger': ['ckpt schedule trigger nightly', 'ckpt schedule trigger nightly --overlap cancel_other'],
  'schedule backfill': ['ckpt schedule backfill nightly --from 2026-11-01 --to 2026-11-08T12:00:00Z'],
  'schedule delete': ['ckpt schedule delete nightly'],
  doctor: ['ckpt doctor', 'ckpt doctor s3://models/ /data --storage storage.yaml --json'],
  setup: ['TEMPORAL_ADDRESS=temporal:7233 ckpt setup', 'TEMPORAL_ADDRESS=temporal:7233 ckpt setup --nexus-endpoint checkpoints'],
  completion: ['eval "$(ckpt completion bash)"', 'ckpt completion fish > ~/.config/fish/completions/ckpt.fish'],
};

/** Adds them to the commands of the tree. */
export function addExamples(command: Command, path: readonly string[] = []): void {
  const examples = EXAMPLES[path.join(' ')] ?? [];
  if (examples.length > 0) command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  ${line}`).join('\n')}`);
  for (const each of command.commands) addExamples(each, [...path, each.name()]);
}
