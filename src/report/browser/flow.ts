/** What went in and what came out: bytes of each as one bar, and facts beside it. */
import { barX, plot, text } from '@observablehq/plot';
import { formatBytes, formatText } from '../../model/text.ts';
import { MARK, type RunContents } from '../contents.ts';
import { code, facts, figure, h, WIDTH } from './element.ts';
import { counted, formatShare, grouped } from './text.ts';

interface Part {
  readonly side: 'in' | 'out';
  readonly what: string;
  readonly bytes: number;
  readonly colour: string;
}

export function flow(run: RunContents): HTMLElement {
  const { source, outputs } = run;
  const { training } = source ?? {};
  const size = source?.files.reduce((sum, file) => sum + file.size, 0) ?? 0;
  const out = outputs.reduce((sum, output) => sum + output.size, 0);
  const came =
    source === null
      ? null
      : facts([
          [
            'from',
            h(
              'span',
              {},
              source.files[0]?.uri ?? '–',
              source.files.length > 1 ? ` and ${counted(source.files.length - 1, 'more file')}` : '',
            ),
          ],
          ['format', formatText(source)],
          ['size', sizeText(size)],
          ['weights', `${counted(source.weights.tensors, 'tensor')}, ${formatBytes(source.weights.bytes)}`],
          [
            'beside them',
            source.others.tensors === 0 ? null : `${counted(source.others.tensors, 'tensor')}, ${formatBytes(source.others.bytes)}`,
          ],
          [
            'training',
            training?.epoch === null || training === undefined
              ? null
              : `epoch ${training.epoch}${training.global_step === null ? '' : `, step ${grouped(training.global_step)}`}`,
          ],
        ]);
  const left = outputs.map((output) =>
    facts([
      ['to', output.uri],
      ['format', output.format],
      ['size', `${sizeText(output.size)}${size === 0 ? '' : `, ${formatShare(output.size, size)} of the source`}`],
      ['tensors', grouped(output.tensors)],
      ['state', output.unchanged ? 'unchanged: an earlier run had published exactly this' : 'published by this run'],
      ['SHA-256', output.sha256 === undefined ? null : code(output.sha256)],
    ]),
  );
  const parts = partsOf(run, size, out);
  return h(
    'div',
    {},
    parts.length === 0 ? null : bars(parts, Math.max(size, out)),
    h(
      'div',
      { class: 'sides' },
      came === null ? null : h('div', {}, h('h3', {}, 'In'), came),
      h('div', {}, h('h3', {}, 'Out'), ...(left.length === 0 ? [h('p', {}, 'Nothing was published.')] : left)),
    ),
  );
}

function partsOf({ source, tensors }: RunContents, size: number, out: number): readonly Part[] {
  if (source === null) return [];
  let skipped = 0;
  for (const [row, marks] of (tensors?.marks ?? []).entries()) if ((marks & MARK.skipped) !== 0) skipped += tensors!.bytes[row]!;
  const weights = Math.max(0, Math.min(source.weights.bytes, size) - skipped);
  const others = Math.min(source.others.bytes, Math.max(0, size - weights - skipped));
  const rest = Math.max(0, size - weights - skipped - others);
  return (
    [
      { side: 'in', what: 'weights', bytes: weights, colour: 'var(--busy)' },
      { side: 'in', what: 'skipped weights', bytes: skipped, colour: 'var(--odd)' },
      { side: 'in', what: 'tensors beside the weights', bytes: others, colour: 'var(--aside)' },
      { side: 'in', what: 'everything else', bytes: rest, colour: 'var(--quiet)' },
      { side: 'out', what: 'published', bytes: out, colour: 'var(--good)' },
    ] as const
  ).filter(({ bytes }) => bytes > 0);
}

function bars(parts: readonly Part[], most: number): HTMLElement {
  const drawing = plot({
    width: WIDTH,
    height: 96,
    marginLeft: 40,
    marginRight: 10,
    marginTop: 4,
    marginBottom: 4,
    x: { domain: [0, most], axis: null },
    y: { domain: [...new Set(parts.map(({ side }) => side))], label: null, padding: 0.25, tickSize: 0 },
    style: { fontSize: '13px' },
    marks: [
      barX(parts, { y: 'side', x: 'bytes', fill: 'colour', stroke: 'var(--page)', strokeWidth: 1 }),
      // Words where there is room for them; all are in the legend.
      text(
        placed(parts).filter(({ what, bytes }) => bytes / most > (what.length + 12) * 0.0085),
        {
          y: 'side',
          x: 'middle',
          text: (part: Part) => `${part.what}, ${formatBytes(part.bytes)}`,
          fill: 'white',
        },
      ),
    ],
  });
  const legend = h(
    'ul',
    { class: 'legend', 'aria-label': 'Bytes' },
    ...parts.map(({ side, what, bytes, colour }) => {
      const swatch = h('span', { class: 'swatch', 'aria-hidden': 'true' });
      swatch.style.backgroundColor = colour;
      return h('li', {}, swatch, `${side}: ${what}, ${formatBytes(bytes)}`);
    }),
  );
  return figure(`Bytes: ${parts.map(({ side, what, bytes }) => `${side}: ${what} ${formatBytes(bytes)}`).join('; ')}`, drawing, legend);
}

function placed(parts: readonly Part[]): readonly (Part & { readonly middle: number })[] {
  const ends = { in: 0, out: 0 };
  return parts.map((part) => {
    ends[part.side] += part.bytes;
    return { ...part, middle: ends[part.side] - part.bytes / 2 };
  });
}

function sizeText(bytes: number): string {
  return bytes < 1024 ? formatBytes(bytes) : `${formatBytes(bytes)} (${grouped(bytes)} bytes)`;
}
