/** A namespace that the server does not have, whichever way Temporal's client or worker says so. */
import { CheckpointConfigError, isCheckpointError, textOf } from '../../errors.ts';

/** Of gRPC. */
const NOT_FOUND = 5;
/** The server's words. */
const WORDS = /\bNamespace (\S+ is not found|not found)/i;
/** Errors are looked at so deep. */
const DEEPEST = 8;

/** That error as a `CheckpointConfigError` with what to do; every other one as it is. */
export function namespaceError(error: unknown, namespace: string): unknown {
  if (!isNamespaceMissing(error)) return error;
  return new CheckpointConfigError(
    `The namespace \`${namespace}\` is not on the Temporal server. Name another one (TEMPORAL_NAMESPACE), or create it: \`temporal operator namespace create -n ${namespace}\`.`,
    undefined,
    { cause: error, details: { namespace } },
  );
}

/** False for errors of our own: they say what to do. */
export function isNamespaceMissing(error: unknown): boolean {
  return !(isCheckpointError(error) && error.code === 'CheckpointConfigError') && chainOf(error).some(isMissing);
}

function chainOf(error: unknown): readonly unknown[] {
  const chain: unknown[] = [];
  for (let each = error; each instanceof Error && chain.length < DEEPEST; each = each.cause) chain.push(each);
  return chain;
}

function isMissing(error: unknown): boolean {
  const { name, code } = error as { readonly name?: string; readonly code?: unknown };
  if (name === 'NamespaceNotFoundError') return true;
  // The worker's native part has no codes, but its own text of the whole status.
  return (code === NOT_FOUND || code === undefined) && WORDS.test(textOf(error));
}
