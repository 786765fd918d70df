/** The files that this tab sends, each with how far it is and what can be done about it. */
import { useEffect, useRef } from "preact/hooks";
import { bytes, duration, legible } from "../../format";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/button";
import { Progress } from "../../ui/progress";
import { drop, type Item, items, type Phase, pause, resume, sendAnyway } from "./queue";

const WORDS: Record<Phase, string> = {
  queued: "Waiting its turn",
  reading: "Reading the file",
  sending: "Sending",
  paused: "Paused",
  sent: "Sent",
  failed: "Not sent",
  duplicate: "Sent before",
};

export function Queue() {
  return (
    <section class="card" aria-label="Files being sent">
      <ul class="queue">
        {items.value.map((one) => (
          <Row key={one.key} item={one} />
        ))}
      </ul>
    </section>
  );
}

function Row({ item }: { item: Item }) {
  const { key, file, phase, sent, why } = item;
  const name = legible(file.name);
  useSaid(name, phase, why);
  const isMoving = phase === "sending" || phase === "reading" || phase === "queued";
  return (
    <li data-phase={phase}>
      <div class="line">
        <span class="name">{name}</span>
        <span class="quiet">{item.target.name}</span>
      </div>
      <Progress value={phase === "reading" ? null : sent} max={Math.max(1, file.size)} label={`${name}, bytes sent`} />
      <div class="line">
        <span class="count">
          {WORDS[phase]}
          <span class="quiet">{` ${bytes(sent)} of ${bytes(file.size)}${pace(item)}`}</span>
        </span>
        <span class="buttons">
          {isMoving && (
            <Button small label={`Pause ${name}`} onClick={() => pause(key)}>
              Pause
            </Button>
          )}
          {(phase === "paused" || phase === "failed") && (
            <Button
              small
              kind="primary"
              label={`${phase === "paused" ? "Resume" : "Try again"} ${name}`}
              onClick={() => resume(key)}
            >
              {phase === "paused" ? "Resume" : "Try again"}
            </Button>
          )}
          {phase === "duplicate" && (
            <>
              <Button small href={`#/uploads/${item.earlier}`}>
                To the earlier upload
              </Button>
              <Button small onClick={() => sendAnyway(key)}>
                Send anyway
              </Button>
            </>
          )}
          {phase === "sent" && (
            <Button
              small
              kind="primary"
              href={next(item)}
              label={`${item.target.kind === "infer" ? "Look over" : "Follow"} ${name}`}
            >
              {item.target.kind === "infer" ? "Look it over" : "Follow it"}
            </Button>
          )}
          {phase !== "sent" && (
            <Button small kind="danger" label={`Cancel ${name}`} onClick={() => drop(key).catch(() => {})}>
              Cancel
            </Button>
          )}
        </span>
      </div>
      {why && <p class={phase === "failed" ? "wrong" : "waits"}>{why}</p>}
    </li>
  );
}

function next(item: Item): string {
  return item.target.kind === "infer" ? `#/upload?review=${item.id}` : `#/uploads/${item.id}`;
}

function pace({ phase, rate, sent, file }: Item): string {
  if (phase !== "sending" || !rate) return "";
  return `, ${bytes(rate)}/s, ${duration(Math.ceil((file.size - sent) / rate))} left`;
}

/** What changes is said; how the bytes grow is not. */
function useSaid(name: string, phase: Phase, why: string | null): void {
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) announce(`${name}: ${why ?? WORDS[phase]}`);
    first.current = false;
  }, [phase, why]);
}
