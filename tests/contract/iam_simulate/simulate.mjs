// Answers one JSON line a case: reads cases on stdin, writes {"result": ...} or {"error": ...} on stdout, in order.
import { runSimulation } from '@cloud-copilot/iam-simulate'
import readline from 'node:readline'

const named = (policies, prefix) => policies.map((policy, index) => ({ name: `${prefix}${index}`, policy }))

for await (const line of readline.createInterface({ input: process.stdin })) {
  const one = JSON.parse(line)
  let answer
  try {
    const simulated = await runSimulation(
      {
        request: {
          principal: one.principal,
          action: one.action,
          resource: { resource: one.resource, accountId: one.account },
          contextVariables: one.context
        },
        identityPolicies: named(one.identity, 'identity'),
        serviceControlPolicies: [],
        resourceControlPolicies: one.control.length
          ? [{ orgIdentifier: 'ou', policies: named(one.control, 'control') }]
          : [],
        resourcePolicy: one.keyPolicy ?? undefined,
        sessionPolicy: one.session ?? undefined,
        permissionBoundaryPolicies: one.boundary ? named([one.boundary], 'boundary') : undefined
      },
      {}
    )
    answer =
      simulated.resultType === 'error'
        ? { error: JSON.stringify(simulated.errors).slice(0, 600) }
        : { result: simulated.overallResult, ignored: simulated.result?.ignoredContextKeys ?? [] }
  } catch (error) {
    answer = { error: `exception: ${error.message}` }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
