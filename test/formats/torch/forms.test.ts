/** Rarer forms of tensors and of what lies beside them, as torch writes or wrote them: made by make_form_fixtures.py. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { readHeader } from '../../../src/formats/read-header.ts';
import { scanFile } from '../../../src/formats/scan/scan.ts';
import { openLocalFile } from '../../../src/io/local/local-file.ts';
import { selectWeights } from '../../../src/transform/select-weights.ts';
import { PROJECT_ROOT } from '../../support/project.ts';
import { digestsOf, headerOf } from '../../support/publish.ts';

interface Form {
  readonly tensors: Readonly<Record<string, { readonly dtype: string; readonly shape: readonly number[]; readonly sha256: string }>>;
  readonly others: readonly string[];
  readonly unsupported: readonly string[];
  readonly scan: string;
}
const FORMS = join(PROJECT_ROOT, 'test', 'fixtures', 'forms');
const EXPECTED = JSON.parse(readFileSync(join(FORMS, 'expected.json'), 'utf8')) as Readonly<Record<string, Form>>;

describe.each(Object.entries(EXPECTED))('%s', (name, { tensors, others, unsupported, scan }) => {
  const path = join(FORMS, name);

  test('its tensors are those of torch', async () => {
    const header = await headerOf(path);
    const plan = selectWeights(header, { skipUnsupported: true });
    const read = await digestsOf(plan, plan.tensors, () => openLocalFile(path));
    expect(Object.fromEntries(read)).toEqual(tensors);
    expect(header.nonTensors.map((each) => each.name)).toEqual(others);
    const left = header.weights.filter(({ tensor }) => header.tensors[tensor]!.unsupported !== undefined);
    expect(left.map((weight) => weight.name)).toEqual(unsupported);
  });

  test(`a scan calls it ${scan}`, async () => {
    const source = await openLocalFile(path);
    const [file] = await scanFile(source, { check: readHeader }).finally(() => source.close());
    expect(file).toMatchObject({ verdict: scan, findings: [] });
  });
});
