/** Parts that loaders share: what is left out of a header, and the error for tensors without a dense form. */
import { CheckpointIncompatibleError } from '../errors.ts';
import { stepsToStateDict } from '../model/dict-path.ts';
import type { Attribute, Header, NonTensor } from '../model/header.ts';
import type { LeftOut } from '../model/plan.ts';
import { formatCount } from '../model/text.ts';
import { keyLabel } from '../model/tree.ts';

export function noDenseForm(tensors: readonly LeftOut[]): CheckpointIncompatibleError {
  const shown = tensors
    .slice(0, 5)
    .map(({ what, reason }) => `${what} (${reason})`)
    .join(', ');
  const rest = tensors.length > 5 ? ` and ${tensors.length - 5} more` : '';
  return new CheckpointIncompatibleError(
    `${tensors.length} of the tensors have no plain dense form: ${shown}${rest}. Leave them out with \`skip_unsupported: true\`.`,
    {
      details: { reason: 'unsupported_tensors', tensors: tensors.slice(0, 100).map(({ what, reason }) => ({ name: what, reason })) },
    },
  );
}

/** Values of the state dict that are not tensors and hold some. */
export function withTensors({ nonTensors }: Header): readonly (NonTensor & { readonly tensors: number })[] {
  return nonTensors.flatMap((each) => (each.tensors === undefined ? [] : [{ ...each, tensors: each.tensors }]));
}

/** Of a value that is not a tensor, or an attribute: its name, what it is, and how many tensors go with it. */
export function nonTensorText({ name, is, tensors }: Attribute): string {
  return `${name} (${is}${tensors === undefined ? '' : ` with ${formatCount(tensors, 'tensor')}`})`;
}

/** Attributes that hold tensors: values that a program may compute with, as scales of a quantised weight. */
export function attributesWithTensors({ attributes = [] }: Header): readonly (Attribute & { readonly tensors: number })[] {
  return attributes.flatMap((each) => (each.tensors === undefined ? [] : [{ ...each, tensors: each.tensors }]));
}

/** What of the state dict holds tensors that are none of its own. */
export function notWeights(header: Header): readonly (Attribute & { readonly tensors: number })[] {
  return [...withTensors(header), ...attributesWithTensors(header)].map(({ name, is, tensors }) => ({ name, is, tensors }));
}

/** Attributes that nothing published has a place for. */
export function leftOutAttributes({ attributes = [] }: Header): readonly LeftOut[] {
  return attributes.map(({ name, is, tensors }) => ({
    what: name,
    reason: is,
    ...(tensors === undefined ? {} : { details: { tensors } }),
  }));
}

/** Names of what the file holds beside the state dict. */
export function otherContent(header: Header): readonly string[] {
  return contentBeside(header).flat();
}

/** The same level by level, from the top to where the state dict lies; below the top level names are dotted. */
export function contentBeside(header: Header): readonly (readonly string[])[] {
  const nodes = header.tree?.nodes ?? [];
  let prefix = '';
  return stepsToStateDict(header).map(({ dict, entry }) => {
    const names = dict.entries.flatMap((each) => (each === entry ? [] : [`${prefix}${keyLabel(nodes, each[0])}`]));
    prefix += `${keyLabel(nodes, entry[0])}.`;
    return names;
  });
}
