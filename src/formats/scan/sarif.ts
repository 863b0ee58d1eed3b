/** Scan results as SARIF 2.1.0, which code-scanning views of forges read. */
import type { JsonObject } from '../../errors.ts';
import type { FileScan } from './scan.ts';

const RULES = {
  dangerous_global: 'A pickle names something that can run code where it is loaded.',
  unknown_global: 'A pickle names a class or function that is on no list of harmless ones.',
} as const;

export function sarif(files: readonly FileScan[]): JsonObject {
  const results = files.flatMap((file) => [
    ...file.globals
      .filter(({ verdict }) => verdict !== 'safe')
      .map(({ module, name, verdict, member, position }) =>
        result(
          `${verdict}_global`,
          verdict === 'dangerous' ? 'error' : 'warning',
          `${member} names ${module}.${name}.`,
          file.uri,
          member,
          position,
        ),
      ),
    ...file.findings.map(({ code, message, member }) =>
      result(code, file.verdict === 'safe' ? 'note' : 'warning', message, file.uri, member),
    ),
  ]);
  const rules = [...new Set(results.map(({ ruleId }) => ruleId))].toSorted();
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'ckpt',
            rules: rules.map((id) => ({ id, shortDescription: { text: RULES[id as keyof typeof RULES] ?? id.replaceAll('_', ' ') } })),
          },
        },
        artifacts: files.map(({ uri, verdict }) => ({ location: { uri }, properties: { verdict } })),
        results: results.map((each) => ({ ...each, ruleIndex: rules.indexOf(each.ruleId) })),
      },
    ],
  };
}

interface Result {
  readonly [key: string]: string | JsonObject | readonly JsonObject[];
  readonly ruleId: string;
}

function result(ruleId: string, level: string, text: string, uri: string, member?: string, position?: number): Result {
  return {
    ruleId,
    level,
    message: { text },
    locations: [
      {
        physicalLocation: { artifactLocation: { uri } },
        ...(member === undefined
          ? {}
          : {
              logicalLocations: [
                { name: member, kind: 'member', fullyQualifiedName: position === undefined ? member : `${member}@${position}` },
              ],
            }),
      },
    ],
  };
}
