/** Stages over time, with the attempts of each. The table below says the same in words. */
import { axisX, barX, gridX, plot, text } from '@observablehq/plot';
import type { StageRecord } from '../../pipeline/contract.ts';
import { figure, h, WIDTH } from './element.ts';
import { formatDuration } from './text.ts';

const OUTCOMES = {
  completed: { sign: '✔', colour: 'var(--good)' },
  failed: { sign: '✖', colour: 'var(--bad)' },
  lost: { sign: '?', colour: 'var(--odd)' },
  cancelled: { sign: '■', colour: 'var(--odd)' },
  running: { sign: '▶', colour: 'var(--busy)' },
} as const;
type Outcome = keyof typeof OUTCOMES;

interface Bar {
  readonly stage: string;
  readonly from: number;
  readonly to: number;
  readonly outcome: Outcome;
  readonly attempt: number;
}

/** Null where no stage was run. */
export function timeline(stages: readonly StageRecord[]): HTMLElement | null {
  const begun = stages.filter(({ started }) => started !== null);
  if (begun.length === 0) return null;
  const zero = Math.min(...begun.map(({ started }) => Date.parse(started!)));
  const at = (iso: string): number => Math.max(0, Date.parse(iso) - zero);
  const bars = begun.flatMap((stage) => barsOf(stage, at));
  const end = Math.max(
    1,
    ...begun.flatMap(({ started, ended }) => [at(started!), ended === null ? 0 : at(ended)]),
    ...bars.map(({ to }) => to),
  );
  const spans = begun.map((stage) => ({
    stage: labelOf(stage),
    from: at(stage.started!),
    to: stage.ended === null ? end : at(stage.ended),
  }));
  const labels = stages.map(labelOf);
  // A moment must be seen, too.
  const least = end / 300;
  const drawing = plot({
    width: WIDTH,
    height: 40 + labels.length * 34,
    marginLeft: 20 + Math.min(320, Math.max(...labels.map((label) => label.length)) * 7.2),
    marginRight: 78,
    marginTop: 6,
    x: { domain: [0, end], label: null },
    y: { domain: labels, label: null, padding: 0.35 },
    style: { fontSize: '13px' },
    marks: [
      gridX({ stroke: 'currentColor', strokeOpacity: 0.12 }),
      axisX({ tickFormat: (value: number) => formatDuration(value), ticks: 6, tickSize: 0 }),
      barX(spans, { y: 'stage', x1: 'from', x2: 'to', fill: 'var(--track)' }),
      barX(bars, {
        y: 'stage',
        x1: 'from',
        x2: (bar: Bar) => Math.max(bar.to, bar.from + least),
        fill: (bar: Bar) => OUTCOMES[bar.outcome].colour,
        stroke: 'var(--page)',
        strokeWidth: 1,
      }),
      text(
        bars.filter(({ outcome, from, to }) => outcome !== 'completed' && to - from > end / 60),
        {
          y: 'stage',
          x: (bar: Bar) => (bar.from + bar.to) / 2,
          text: (bar: Bar) => OUTCOMES[bar.outcome].sign,
          fill: 'white',
        },
      ),
      text(spans, {
        y: 'stage',
        x: 'to',
        text: (span: { from: number; to: number }) => formatDuration(span.to - span.from),
        textAnchor: 'start',
        dx: 7,
        fill: 'currentColor',
      }),
    ],
  });
  const present = (Object.keys(OUTCOMES) as Outcome[]).filter((outcome) => bars.some((bar) => bar.outcome === outcome));
  const legend = h(
    'ul',
    { class: 'legend', 'aria-label': 'Outcomes of attempts' },
    ...present.map((outcome) => {
      const swatch = h('span', { class: 'swatch', 'aria-hidden': 'true' }, OUTCOMES[outcome].sign);
      swatch.style.backgroundColor = OUTCOMES[outcome].colour;
      return h('li', {}, swatch, outcome);
    }),
  );
  const retried = begun.filter(({ attempts }) => attempts > 1).length;
  return figure(
    `Stages over ${formatDuration(end)}; ${retried === 0 ? 'each at its first attempt' : `${retried} of ${begun.length} took several attempts`}. The table below has all times.`,
    drawing,
    legend,
  );
}

export function labelOf({ index, type }: StageRecord): string {
  return `${index + 1} ${type}`;
}

function barsOf(stage: StageRecord, at: (iso: string) => number): readonly Bar[] {
  const label = labelOf(stage);
  return stage.tries.flatMap((each): readonly Bar[] => {
    const known = each.attempts.filter(({ started }) => started !== null);
    if (known.length === 0) {
      const to = at(each.ended ?? each.started);
      return [{ stage: label, from: at(each.started), to, outcome: each.outcome, attempt: 1 }];
    }
    return known.map(({ attempt, started, ended, outcome }) => ({
      stage: label,
      from: at(started!),
      to: at(ended ?? each.ended ?? started!),
      outcome,
      attempt,
    }));
  });
}
