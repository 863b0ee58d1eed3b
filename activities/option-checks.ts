/** Rules of options that our own readers have already, as checks of their schemas. */
import type { z } from 'zod';
import { textOf } from '../src/errors.ts';

/** Refuses a text that `read` throws for, in its words. What an item of a batch fills in is looked at when it has. */
export function refusedBy(read: (text: string) => unknown): (text: string, context: z.RefinementCtx) => void {
  return (text, context) => {
    if (text.includes('${item.')) return;
    try {
      read(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: textOf(error).replace(/\.$/, '') });
    }
  };
}
