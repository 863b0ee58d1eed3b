/** Search attributes on a server: which of ours it has, and registering those that it lacks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isGrpcServiceError, type ConnectionLike } from '@temporalio/client';
import { CheckpointConfigError, textOf } from '../../errors.ts';
import { SEARCH_ATTRIBUTES, type SearchAttributeName } from '../../pipeline/search-attributes.ts';

const NAMES = Object.keys(SEARCH_ATTRIBUTES) as SearchAttributeName[];
/** Temporal's `IndexedValueType`. */
const WIRE_TYPES = { KEYWORD: 2, INT: 3 } as const;
/** Milliseconds; a run must not wait long for what only helps to find it. */
const DEADLINE = 5000;
/** Milliseconds until a server has told all its parts, and between looks. */
const KNOWN_WITHIN = 15_000;
const LOOK = 200;
/** gRPC's. */
const INVALID_ARGUMENT = 3;

export interface Registered {
  readonly present: readonly SearchAttributeName[];
  readonly missing: readonly SearchAttributeName[];
  /** There under our name and with another type, so of no use. */
  readonly conflicting: readonly SearchAttributeName[];
}

/** What the namespace has; throws what the server throws. */
export async function registeredAttributes(connection: ConnectionLike, namespace: string): Promise<Registered> {
  const { customAttributes } = await connection.withDeadline(Date.now() + DEADLINE, () =>
    connection.operatorService.listSearchAttributes({ namespace }),
  );
  const typeOf = (name: SearchAttributeName): unknown => customAttributes?.[name];
  const fits = (name: SearchAttributeName): boolean => typeOf(name) === wireType(name);
  return {
    present: NAMES.filter(fits),
    missing: NAMES.filter((name) => typeOf(name) === undefined),
    conflicting: NAMES.filter((name) => typeOf(name) !== undefined && !fits(name)),
  };
}

/** Registers what is missing, and gives what there is then. Twice is fine. */
export async function registerAttributes(connection: ConnectionLike, namespace: string): Promise<Registered> {
  const before = await registeredAttributes(connection, namespace);
  if (before.missing.length === 0) return before;
  const searchAttributes = Object.fromEntries(before.missing.map((name) => [name, wireType(name)]));
  try {
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
  } catch (cause) {
    throw new CheckpointConfigError(
      `The search attributes ${before.missing.join(', ')} could not be registered in the namespace ${namespace}: ${textOf(cause)}. Whoever administers the server may do it with \`temporal operator search-attribute create\`.`,
      undefined,
      { cause, details: { missing: before.missing } },
    );
  }
  await untilKnown(connection, namespace, before.missing);
  return registeredAttributes(connection, namespace);
}

/** A server's front learns of new ones seconds later, and refuses runs that have them until then. Who cannot tell is not waited for. */
async function untilKnown(connection: ConnectionLike, namespace: string, names: readonly SearchAttributeName[]): Promise<void> {
  const query = names.map((name) => `${name} IS NOT NULL`).join(' AND ');
  const end = Date.now() + KNOWN_WITHIN;
  while (Date.now() < end) {
    const isUnknown = await connection
      .withDeadline(Date.now() + DEADLINE, () => connection.workflowService.countWorkflowExecutions({ namespace, query }))
      .then(
        () => false,
        (error: unknown) => isGrpcServiceError(error) && error.code === INVALID_ARGUMENT,
      );
    if (!isUnknown) return;
    await sleep(LOOK);
  }
}

/** One line about what the server lacks; null where it has all. */
export function attributesNote({ missing, conflicting }: Registered): string | null {
  const lacking = [...missing, ...conflicting.map((name) => `${name} (there with another type)`)];
  if (lacking.length === 0) return null;
  return `Runs cannot be found by ${lacking.join(', ')}: the server has no such search attributes. \`ckpt setup\` registers them.`;
}

function wireType(name: SearchAttributeName): number {
  return WIRE_TYPES[SEARCH_ATTRIBUTES[name]];
}
