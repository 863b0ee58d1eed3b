/** What a run is about to do, in Markdown, for the details that it is started with. Workflow-safe. */
import { escapeControls, escapeMarkdown } from '../model/text.ts';
import type { PipelineInput } from './contract.ts';
import { optionsOf } from './document.ts';

/** Values longer than this are cut: the whole document is the run's input. */
const MOST_CHARACTERS = 200;

/** A line for each stage: the UI draws no nested lists. */
export function startDetails({ stages }: PipelineInput): string {
  return stages
    .map((stage, index) => {
      const options = Object.entries(optionsOf(stage)).map(([name, value]) => {
        const text = typeof value === 'string' ? value : JSON.stringify(value);
        return `${escapeMarkdown(name)}: ${escapeMarkdown(text.replaceAll(/\s+/g, ' ').slice(0, MOST_CHARACTERS))}`;
      });
      return `${index + 1}. \`${escapeControls(stage.type)}\` ${options.join('; ')}`.trimEnd();
    })
    .join('\n');
}
