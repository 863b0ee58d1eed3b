/** Names of stages: for short, which every document may use, and Anemoi's classes with them. Pure and workflow-safe. */
import { CheckpointConfigError } from '../errors.ts';
import { didYouMean } from '../model/suggestions.ts';
import { OWN_TYPES, STAGE_KINDS } from './stage-kinds.ts';

/** Where its classes are. */
export const ANEMOI_PACKAGE = 'anemoi.training.checkpoint';

interface KnownClass {
  readonly type: string;
  readonly modules: readonly string[];
  /** Short names. */
  readonly names: readonly string[];
}

const SOURCES = (module: string): readonly string[] => ['sources', `sources.${module}`];
const LOADING = ['loading', 'loading.strategies'];
const FREEZING = { type: 'modifier.freezing', modules: ['modifiers', 'modifiers.freezing'] };

/** Anemoi's classes, and the forms that its documents show although its code rejects them. */
export const ANEMOI_CLASSES: Readonly<Record<string, KnownClass>> = {
  LocalSource: { type: 'source.local', modules: SOURCES('local'), names: ['local'] },
  S3Source: { type: 'source.s3', modules: SOURCES('s3'), names: ['s3'] },
  HTTPSource: { type: 'source.http', modules: SOURCES('http'), names: ['http'] },
  WeightsOnlyLoader: { type: 'loader.weights_only', modules: LOADING, names: ['weights_only'] },
  TransferLearningLoader: { type: 'loader.transfer_learning', modules: LOADING, names: ['transfer_learning'] },
  WarmStartLoader: { type: 'loader.warm_start', modules: LOADING, names: ['warm_start'] },
  ColdStartLoader: { type: 'loader.cold_start', modules: LOADING, names: ['cold_start'] },
  FreezingModifierStage: { ...FREEZING, names: ['freezing_modifier_stage', 'freezing', 'freeze'] },
  FreezingModifier: { ...FREEZING, names: ['freezing_modifier'] },
  FreezeModifier: { ...FREEZING, names: ['freeze_modifier'] },
};

/** Short names of a stage type, and the dotted paths of the classes that mean it. */
export function aliasesOf(type: string): { readonly aliases: readonly string[]; readonly classes: readonly string[] } {
  const classes = Object.entries(ANEMOI_CLASSES).filter(([, known]) => known.type === type);
  return {
    aliases: classes.flatMap(([, { names }]) => names),
    classes: classes.map(([name, { modules }]) => `${ANEMOI_PACKAGE}.${modules[0]}.${name}`),
  };
}

/** What `type` may say for short of a stage of ours: the name behind its kind, and Anemoi's; none of a plug-in's, which not everybody has. */
export function shortTypesOf(type: string): readonly string[] {
  if (!OWN_TYPES.includes(type)) return [];
  const { aliases } = aliasesOf(type);
  return [...new Set([type.slice(type.indexOf('.') + 1), ...aliases])];
}

/** Announced by Anemoi, built by nobody yet. */
const ANNOUNCED = /^(lora|lo_ra|quanti[sz]e|prune)(_?modifier)?(_?stage)?$/i;

/** `s3`, `freeze`, `publish`, or a class name; without `types`, those of the catalog, any other name may be one of a plug-in and is left as it is. */
export function typeOfName(name: string, types: readonly string[] | undefined, origin: string): string {
  for (const [className, { type, names }] of Object.entries(ANEMOI_CLASSES)) if (className === name || names.includes(name)) return type;
  const whole = STAGE_KINDS.map((kind) => `${kind}.${name}`);
  // A plug-in changes nothing of what a document says without it.
  const own = whole.find((type) => OWN_TYPES.includes(type));
  if (own !== undefined) return own;
  const fits = whole.filter((type) => types?.includes(type));
  if (fits.length === 1) return fits[0]!;
  if (fits.length > 1) throw new CheckpointConfigError(`\`${name}\` may be ${fits.join(' or ')}: write the whole type.`, `${origin}.type`);
  // Until a plug-in has it.
  refuseAnnounced(name, `${origin}.type`);
  if (types === undefined) return name;
  const aliases = Object.values(ANEMOI_CLASSES).flatMap(({ names }) => names);
  throw new CheckpointConfigError(
    `Unknown stage type \`${name}\`.${didYouMean(name, [...aliases, ...Object.keys(ANEMOI_CLASSES), ...types])} Known types: ${types.join(', ')}; for short ${aliases.join(', ')}.`,
    `${origin}.type`,
  );
}

/** `at`: where it stands. */
export function refuseAnnounced(name: string, at: string): void {
  if (ANNOUNCED.test(name))
    throw new CheckpointConfigError(`\`${name}\` was announced but is not available yet, neither in Anemoi nor here.`, at);
}
