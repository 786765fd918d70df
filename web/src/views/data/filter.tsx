/** One condition on a field that is indexed. */
import { useEffect, useState } from "preact/hooks";
import { Button } from "../../ui/button";
import { Field } from "../../ui/field";

const OPERATORS = { eq: "is", gt: "is above", gte: "is at least", lt: "is below", lte: "is at most" };
export type Operator = keyof typeof OPERATORS;

interface Condition {
  field: string;
  is: Operator;
  value: string;
}

interface Props extends Condition {
  fields: string[];
  onFilter: (condition: Condition) => void;
}

export function Filter({ fields, field, is, value, onFilter }: Props) {
  const [now, setNow] = useState<Condition>({ field, is, value });
  useEffect(() => setNow({ field, is, value }), [field, is, value]);
  if (!fields.length) return null;
  function asked(event: SubmitEvent): void {
    event.preventDefault();
    onFilter({ ...now, field: now.field || fields[0]! });
  }
  return (
    <form class="filters" onSubmit={asked} aria-label="Filter">
      <Field label="Field" quiet>
        <select
          value={now.field || fields[0]}
          onChange={(event) => setNow({ ...now, field: event.currentTarget.value })}
        >
          {fields.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      </Field>
      <Field label="Condition" quiet>
        <select value={now.is} onChange={(event) => setNow({ ...now, is: event.currentTarget.value as Operator })}>
          {Object.entries(OPERATORS).map(([name, words]) => (
            <option key={name} value={name}>
              {words}
            </option>
          ))}
        </select>
      </Field>
      <Field label="Value" quiet>
        <input
          value={now.value}
          placeholder="a value, or nothing"
          onInput={(event) => setNow({ ...now, value: event.currentTarget.value })}
        />
      </Field>
      <Button submit>Filter</Button>
      {field && <Button onClick={() => onFilter({ field: "", is: "eq", value: "" })}>All rows</Button>}
    </form>
  );
}
