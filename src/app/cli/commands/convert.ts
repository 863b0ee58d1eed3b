/** `ckpt convert`: source, loader and sink in one line; what runs is the pipeline that they would be in a document. */
import { CheckpointConfigError } from '../../../errors.ts';
import { EXTENSIONS_WRITTEN, foreignExtension, formatNamed, type Format } from '../../../model/header.ts';
import { schemeOf } from '../../../model/scheme.ts';
import { didYouMean, editDistance } from '../../../model/suggestions.ts';
import type { PipelineInput } from '../../../pipeline/contract.ts';
import { checkInput } from '../document.ts';
import { callerFolder } from '../paths.ts';
import { runDocument, type RunOptions } from './run.ts';

export interface ConvertOptions extends RunOptions {
  readonly format?: Format;
  readonly weightsOnly?: boolean;
  readonly trainingState?: boolean;
  readonly shardSize?: string;
  readonly skipUnsupported?: boolean;
  readonly stateDictKey?: string;
}

export async function convert(from: string, to: string, options: ConvertOptions): Promise<void> {
  await runDocument(await checkInput(documentOf(from, to, options), callerFolder()), options);
}

/** The pipeline document that the line stands for. */
export function documentOf(from: string, to: string, options: ConvertOptions): PipelineInput {
  const foreign = options.format === undefined ? foreignExtension(to) : undefined;
  if (foreign !== undefined) {
    // `.v2` is two edits from `.pt`, and nothing like it.
    const near = EXTENSIONS_WRITTEN.filter((each) => editDistance(each, foreign.toLowerCase()) <= (foreign.length - 1) / 2);
    throw new CheckpointConfigError(
      `${to}: nothing that is written here has a name with \`${foreign}\`.${didYouMean(foreign, near)} Take a name with one of ${EXTENSIONS_WRITTEN.join(', ')}, or say what to write all the same: \`--format\`.`,
    );
  }
  const format = options.format ?? (isBare(to, options) ? 'state_dict' : formatNamed(to));
  if (options.weightsOnly === true && options.trainingState === true)
    throw new CheckpointConfigError('`--weights-only` and `--training-state` exclude each other.');
  if (options.trainingState === true && format !== 'lightning' && format !== 'pytorch')
    throw new CheckpointConfigError(`${format} holds no training state; use \`--format lightning\` or \`--format pytorch\`.`);
  const keeps = options.trainingState ?? (format === 'lightning' && options.weightsOnly !== true);
  return {
    name: 'convert',
    stages: [
      { ...sourceOf(from), ...(options.stateDictKey === undefined ? {} : { state_dict_key: literal(options.stateDictKey) }) },
      {
        type: keeps ? 'loader.warm_start' : 'loader.weights_only',
        ...(options.skipUnsupported === true ? { skip_unsupported: true } : {}),
      },
      { type: 'sink.publish', uri: literal(to), format, ...(options.shardSize === undefined ? {} : { shard_size: options.shardSize }) },
    ],
  };
}

/** As a document writes what is not a reference: the shell has resolved those of a command line. */
function literal(text: string): string {
  return text.replaceAll('${', () => '$${');
}

/** Of a `.bin` the programs that read it by its name (transformers, diffusers) expect the dict of tensors by itself. */
function isBare(to: string, { trainingState }: ConvertOptions): boolean {
  return trainingState !== true && /\.bin$/i.test(to);
}

function sourceOf(location: string): PipelineInput['stages'][number] {
  const scheme = schemeOf(location) ?? 'file';
  switch (scheme) {
    case 'file':
      return { type: 'source.local', path: literal(location) };
    case 's3':
      return { type: 'source.s3', url: literal(location) };
    case 'http':
    case 'https':
      return { type: 'source.http', url: literal(location) };
    default:
      throw new CheckpointConfigError(
        `${location}: the scheme ${scheme}:// is not known. Known: a local path, file://, s3://, http://, https://.`,
      );
  }
}
