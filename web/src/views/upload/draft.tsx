/** What is to be sent: the files, where their rows go, and under "Options" all that has a default. */
import { useEffect, useState } from "preact/hooks";
import { handed, type Picked, useDrop } from "../../dropped";
import { bytes, counted, legible } from "../../format";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/button";
import { Field } from "../../ui/field";
import { Failure } from "../../ui/notice";
import { Choose } from "./choose";
import { type Column, match, readHeader } from "./header";
import { type Mapped, Mapping, unsaid } from "./mapping";
import { type Choices, DEFAULTS, OptionFields, options, wrong } from "./options";
import { add, type Target } from "./queue";
import { fitting, named, names, type Place, usePlaces } from "./targets";

interface Chosen extends Picked {
  key: string;
  header: string[] | null;
  /** What was said of columns; all others go by their names. */
  mapped: Mapped;
}

export function Draft({ dataset }: { dataset: string | null }) {
  const places = usePlaces();
  const [chosen, setChosen] = useState<Chosen[]>([]);
  const [picked, setPicked] = useState<Target | null>(dataset ? { kind: "dataset", name: dataset } : null);
  const [choices, setChoices] = useState<Choices>(DEFAULTS);
  const [name, setName] = useState<string | null>(null);
  const [asked, setAsked] = useState(false);
  const over = useDrop(choose);

  async function choose(more: Picked[]): Promise<void> {
    const read = await Promise.all(
      more.map(async (one) => ({
        ...one,
        key: crypto.randomUUID(),
        header: await readHeader(one.file).catch(() => null),
        mapped: {},
      })),
    );
    setChosen((old) => [...old, ...read]);
    announce(`${counted(read.length, "file")} chosen`);
  }

  useEffect(() => {
    if (!handed.value.length) return;
    choose(handed.value);
    handed.value = [];
  }, [handed.value]);

  const all = places.all ?? [];
  const fit = fitting(chosen[0]?.header ?? null, all);
  const target = picked ?? fit ?? { kind: "infer" as const, name: "" };
  const place = all.find((one) => one.kind === target.kind && one.name === target.name) ?? null;
  const isMaking = target.kind === "infer";
  const taken = all.map((one) => one.name);
  const open = place ? chosen.filter((one) => unsaid(columnsOf(one, place), one.mapped).length) : [];

  function submit(event: Event): void {
    event.preventDefault();
    setAsked(true);
    if (!places.all || open.length || (isMaking && name?.trim() === "")) return;
    if (Object.keys(wrong(choices)).length) return;
    const called = isMaking ? calledAfter(chosen, name, taken) : [];
    add(
      chosen.map((one, at) => ({
        file: one.file,
        handle: one.handle,
        target: isMaking ? { kind: "infer", name: called[at]! } : { kind: target.kind, name: target.name },
        options: options(choices, isMaking, one.mapped),
      })),
    );
    setChosen([]);
    setName(null);
    setAsked(false);
    scrollTo(0, 0);
  }

  if (!chosen.length) return <Choose onChoose={choose} over={over} />;
  return (
    <form class="card" onSubmit={submit} noValidate>
      <ul class="files" aria-label="Files">
        {chosen.map((one) => (
          <li key={one.key}>
            <span class="name">{legible(one.file.name)}</span>
            <span class="quiet count">{bytes(one.file.size)}</span>
            <Button
              small
              label={`Leave out ${legible(one.file.name)}`}
              onClick={() => setChosen(chosen.filter((each) => each !== one))}
            >
              Leave out
            </Button>
          </li>
        ))}
      </ul>
      <Failure error={places.error} title="Your datasets could not be read." />
      <div class="pair">
        <Field label="Dataset" hint={hint(place, fit, picked)}>
          <select
            value={`${target.kind} ${target.name}`}
            onChange={(event) => {
              const [kind, ...rest] = event.currentTarget.value.split(" ");
              setPicked({ kind: kind as Target["kind"], name: rest.join(" ") });
            }}
          >
            <option value="infer ">A new one, made from the file</option>
            <Group kind="dataset" label="Yours" all={all} also={picked} />
            <Group kind="template" label="From a template" all={all} />
          </select>
        </Field>
        {isMaking && (
          <Field label="Its name" error={asked && name?.trim() === "" ? "A dataset needs a name." : null}>
            <input
              value={name ?? named(chosen[0]!.file.name, taken)}
              maxLength={63}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </Field>
        )}
      </div>
      {isMaking && chosen.length > 1 && <p class="quiet">Each file makes a dataset of its own, named after it.</p>}
      {place &&
        chosen.map((one) => (
          <Mapping
            key={one.key}
            file={chosen.length > 1 ? legible(one.file.name) : null}
            columns={columnsOf(one, place)}
            fields={names(place)}
            mapped={one.mapped}
            asked={asked}
            onChange={(mapped) => setChosen(chosen.map((each) => (each === one ? { ...one, mapped } : each)))}
          />
        ))}
      <OptionFields choices={choices} place={place} isMaking={isMaking} onChange={setChoices} />
      {asked &&
        Object.values(wrong(choices)).map((one) => (
          <p key={one} class="wrong" role="alert">
            More options: {one}
          </p>
        ))}
      <div class="buttons">
        <Button kind="primary" submit busy={!places.all && !places.error}>
          {chosen.length > 1 ? `Upload ${chosen.length} files` : "Upload"}
        </Button>
        {places.error && <Button onClick={places.reload}>Try again</Button>}
        <Choose small onChoose={choose} over={over} />
      </div>
    </form>
  );
}

/** What the datasets are called that files make: the first as somebody says, each of the others after its file. */
function calledAfter(chosen: Chosen[], first: string | null, taken: string[]): string[] {
  const called: string[] = [];
  for (const { file } of chosen)
    called.push(first !== null && !called.length ? first.trim() : named(file.name, [...taken, ...called]));
  return called;
}

function columnsOf(one: Chosen, place: Place): Column[] {
  const columns = one.header ? match(one.header, names(place)) : [];
  // None that is known: it has no header, or another first line than we think. The service finds out.
  return columns.some((column) => column.met || column.alike) ? columns : [];
}

function hint(place: Place | null, fit: Place | null, picked: Target | null): string | undefined {
  if (picked || !place || place !== fit) return undefined;
  return place.kind === "template"
    ? "The file's columns are those of this template."
    : "The file's columns are this dataset's.";
}

interface Options {
  kind: Target["kind"];
  label: string;
  all: Place[];
  also?: Target | null;
}

function Group({ kind, label, all, also }: Options) {
  const found = all.filter((one) => one.kind === kind).map((one) => one.name);
  // The one that the address names is to be chosen before the list has come.
  if (also?.kind === kind && !found.includes(also.name)) found.unshift(also.name);
  if (!found.length) return null;
  return (
    <optgroup label={label}>
      {found.map((name) => (
        <option key={name} value={`${kind} ${name}`}>
          {name}
        </option>
      ))}
    </optgroup>
  );
}
