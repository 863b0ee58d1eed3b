/**
 * Anemoi's classes, as `_target_` names them.
 *
 * Invariant: `_target_` is looked up in a closed table and never names code.
 */
import { CheckpointConfigError } from '../../errors.ts';
import { didYouMean } from '../../model/suggestions.ts';
import { shown } from '../shown.ts';
import { ANEMOI_CLASSES, ANEMOI_PACKAGE, refuseAnnounced } from '../stage-names.ts';

export function typeOfTarget(target: string, given: unknown, origin: string): string {
  const dot = target.lastIndexOf('.');
  const [module, name] = [target.slice(0, Math.max(dot, 0)), target.slice(dot + 1)];
  refuseAnnounced(name, `${origin}._target_`);
  const known = Object.hasOwn(ANEMOI_CLASSES, name) ? ANEMOI_CLASSES[name]! : undefined;
  if (known?.modules.some((each) => `${ANEMOI_PACKAGE}.${each}` === module) === true) return known.type;
  const classes = Object.entries(ANEMOI_CLASSES).map(([each, { modules }]) => `${ANEMOI_PACKAGE}.${modules[0]}.${each}`);
  const hint =
    known === undefined
      ? didYouMean(name, Object.keys(ANEMOI_CLASSES))
      : ` Did you mean \`${ANEMOI_PACKAGE}.${known.modules[0]}.${name}\`?`;
  throw new CheckpointConfigError(
    `Unknown \`_target_\` in ${shown(given)}.${hint} A target is looked up in a table and never imported; known are ${classes.join(', ')}. Stages of a plug-in are named by \`type\`.`,
    `${origin}._target_`,
  );
}
