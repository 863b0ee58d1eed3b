/**
 * `${ENV}`, `${param.x}` and references into the document, in option values only: never in stage types, keys or settings that
 * decide what runs.
 *
 * Invariant: a value that looks like a credential by its name is refused, for what stands in a document goes into the
 * run's history; credentials belong into the worker's own environment.
 */
import { CheckpointConfigError } from '../../errors.ts';
import { didYouMean } from '../../pipeline/suggestions.ts';

export interface Values {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly parameters: Readonly<Record<string, string>>;
  /** The document as it was written: `${hardware.paths.output}` refers into it. */
  readonly root: unknown;
  /** How many references may still be resolved: those that lead to others multiply. */
  readonly budget: { left: number };
}

export const MOST_REFERENCES = 10_000;

/** References to references to …: Anemoi's own paths take three. */
const DEEPEST = 8;
/** Characters of one value. */
const LONGEST = 64 * 1024;
const SECRET = /SECRET|TOKEN|PASSW|CREDENTIAL|PRIVATE|ACCESS_KEY|API_?KEY/i;
/** Keys of a stage that say what runs. */
const PLAIN_KEYS = ['type', '_target_'];
const REFERENCE = /\$\$\{|\$\{([^{}]*)\}/g;

/** A stage with its references resolved; `configPath` is that of the stage, for errors. */
export function interpolateStage(stage: Readonly<Record<string, unknown>>, values: Values, configPath: string): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(stage).map(([key, value]) => {
      const path = `${configPath}.${key}`;
      if (!PLAIN_KEYS.includes(key)) return [key, interpolate(value, values, path)];
      if (typeof value === 'string' && value.includes('${'))
        throw new CheckpointConfigError(
          `\`${key}\` is written out: which stage runs does not come from the environment or a parameter.`,
          path,
        );
      return [key, value];
    }),
  );
}

/** Strings inside mappings and lists; keys stay as they are. */
export function interpolate(value: unknown, values: Values, configPath: string): unknown {
  if (typeof value === 'string') return ofText(value, values, configPath, 0);
  if (Array.isArray(value)) return value.map((item, index) => interpolate(item, values, `${configPath}[${index}]`));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolate(item, values, `${configPath}.${key}`)]));
}

function ofText(text: string, values: Values, configPath: string, depth: number): unknown {
  if (!text.includes('${')) return text;
  if (depth > DEEPEST)
    throw new CheckpointConfigError(`References lead to references more than ${DEEPEST} deep: \`${text.slice(0, 200)}\`.`, configPath);
  const whole = /^\$\{([^{}]*)\}$/.exec(text);
  if (whole !== null) return scalar(resolve(whole[1]!, values, configPath, depth));
  const result = text.replaceAll(REFERENCE, (_match: string, name: string | undefined) =>
    name === undefined ? '${' : String(resolve(name, values, configPath, depth)),
  );
  if (result.length > LONGEST)
    throw new CheckpointConfigError(
      `The value has ${result.length} characters once its references are resolved; at most ${LONGEST} are taken.`,
      configPath,
    );
  return result;
}

function resolve(reference: string, values: Values, configPath: string, depth: number): unknown {
  const { environment, parameters, root, budget } = values;
  if (--budget.left < 0)
    throw new CheckpointConfigError(`The document takes more than ${MOST_REFERENCES} references to resolve.`, configPath);
  if (reference.startsWith('param.')) {
    const name = reference.slice('param.'.length);
    const value = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    if (value !== undefined) return value;
    throw new CheckpointConfigError(
      `\`\${${reference}}\` needs \`--param ${name}=…\`.${didYouMean(name, Object.keys(parameters))}`,
      configPath,
    );
  }
  // `${oc.env:NAME}` and `${oc.env:NAME,default}` are OmegaConf's way to say it.
  const omega = /^oc\.env:\s*([A-Za-z_]\w*)\s*(?:,(.*))?$/.exec(reference);
  const name = omega?.[1] ?? (/^[A-Za-z_]\w*$/.test(reference) ? reference : undefined);
  if (name !== undefined) {
    if (SECRET.test(name))
      throw new CheckpointConfigError(
        `\`\${${reference}}\` looks like a credential. Values of a document go into the run's history; set ${name} in the environment of the worker, which finds it there by itself.`,
        configPath,
      );
    const value = environment[name] ?? omega?.[2];
    if (value !== undefined) return value;
    // Not those that are merely a part of the name: PATH would be near to every …_PATH.
    const near = Object.keys(environment).filter((each) => !SECRET.test(each) && (!name.includes(each) || name.length - each.length <= 2));
    throw new CheckpointConfigError(`The environment variable ${name} is not set.${didYouMean(name, near)}`, configPath);
  }
  const found = /^[\w-]+(\.[\w-]+)+$/.test(reference) ? inDocument(root, reference.split('.')) : undefined;
  if (typeof found === 'string') return ofText(found, values, configPath, depth + 1);
  if (typeof found === 'number' || typeof found === 'boolean') return found;
  throw new CheckpointConfigError(
    `\`\${${reference.slice(0, 100)}}\` is neither an environment variable (\`\${NAME}\`), nor a parameter (\`\${param.name}\`), nor the place of a value in this document. Write \`$\${\` for the characters themselves.`,
    configPath,
  );
}

function inDocument(root: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined,
    root,
  );
}

/** A value that is nothing but a reference may be meant as a boolean or number. */
function scalar(value: unknown): unknown {
  if (value === 'true' || value === 'false') return value === 'true';
  return typeof value === 'string' && /^-?(0|[1-9]\d{0,14})(\.\d+)?$/.test(value) ? Number(value) : value;
}
