/**
 * Rows of which only those in sight are in the page: a hundred thousand scroll as smoothly as ten. One stop of the
 * keyboard: the arrows, Page Up and Down, Home and End move in it, Enter opens the row.
 */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

export interface Column<Row> {
  key: string;
  title: string;
  /** The least width, in rem, and the share of what is left. */
  width?: number;
  grow?: number;
  end?: boolean;
  /** Left out on a phone. */
  wide?: boolean;
  sorted?: "ascending" | "descending" | "none";
  onSort?: () => void;
  cell: (row: Row, place: number) => ComponentChildren;
}

interface Props<Row> {
  /** What the table is of, for readers of the screen. */
  label: string;
  rows: readonly Row[];
  columns: readonly Column<Row>[];
  id: (row: Row, place: number) => string | number;
  /** In px. */
  rowHeight?: number;
  /** How many rows there are in all, if that is known to be more than are here. */
  total?: number;
  /** The end of what is here comes into sight. */
  onEnd?: () => void;
  onOpen?: (row: Row, place: number) => void;
  /** What is shown instead of no rows; nothing while it is not known whether there are any. */
  empty?: ComponentChildren;
}

const AROUND = 6; // rows kept on either side of those in sight
const STEP = 6; // rows that come and go at once: most frames of a scroll change nothing but the place
const narrow = matchMedia("(max-width: 40rem)");

export function Table<Row>(props: Props<Row>) {
  const { label, rows, id, rowHeight = 44, total, onEnd, onOpen, empty } = props;
  const box = useRef<HTMLDivElement>(null);
  const [first, setFirst] = useState(0);
  const [room, setRoom] = useState(15);
  const [active, setActive] = useState(0);
  const name = useId();
  const columns = useColumns(props.columns);
  const last = Math.min(rows.length, first + STEP + room + AROUND);
  const start = Math.max(0, first - AROUND);

  useLayoutEffect(() => {
    const watcher = new ResizeObserver(([seen]) => seen && setRoom(Math.ceil(seen.contentRect.height / rowHeight) + 1));
    if (box.current) watcher.observe(box.current);
    return () => watcher.disconnect();
  }, [rowHeight, rows.length > 0]);
  useLayoutEffect(() => {
    // Another list begins at its top, wherever this one was.
    if (rows.length) return;
    setFirst(0);
    setActive(0);
    if (box.current) box.current.scrollTop = 0;
  }, [rows.length]);
  useEffect(() => {
    if (rows.length && last >= rows.length) onEnd?.();
  }, [last, rows.length]);

  function move(place: number): void {
    const next = Math.max(0, Math.min(rows.length - 1, place));
    setActive(next);
    const here = box.current!;
    const head = rowHeight; // the header covers as much at the top
    if (next * rowHeight < here.scrollTop) here.scrollTop = next * rowHeight;
    else if ((next + 1) * rowHeight + head > here.scrollTop + here.clientHeight)
      here.scrollTop = (next + 1) * rowHeight + head - here.clientHeight;
  }
  function pressed(event: KeyboardEvent): void {
    if (event.target !== box.current) return;
    const steps: Record<string, number> = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + room - 2,
      PageUp: active - room + 2,
      Home: 0,
      End: rows.length - 1,
    };
    const to = steps[event.key];
    const row = rows[active];
    if (to !== undefined) move(to);
    else if (event.key === "Enter" && row !== undefined) onOpen?.(row, active);
    else return;
    event.preventDefault();
  }

  if (!rows.length && empty) return <div class="empty">{empty}</div>;
  const least = columns.reduce((sum, one) => sum + (one.width ?? 8) + 1, 1);
  const tracks = columns.map((one) => `minmax(${one.width ?? 8}rem, ${one.grow ?? 1}fr)`).join(" ");
  return (
    <div
      ref={box}
      class="table"
      role="grid"
      aria-label={label}
      aria-rowcount={(total ?? rows.length) + 1}
      aria-activedescendant={active >= start && active < last ? `${name}-${active}` : undefined}
      tabIndex={0}
      onKeyDown={pressed}
      style={{ "--tracks": tracks, "--row": `${rowHeight}px` }}
      onScroll={(event) => setFirst(Math.floor(event.currentTarget.scrollTop / rowHeight / STEP) * STEP)}
    >
      <div class="head" role="row" aria-rowindex={1} style={{ minWidth: `${least}rem` }}>
        {columns.map((one) => (
          <span key={one.key} role="columnheader" class={one.end ? "end" : undefined} aria-sort={one.sorted}>
            {one.onSort ? (
              <button type="button" onClick={one.onSort}>
                {one.title}
                <span aria-hidden="true">
                  {one.sorted === "ascending" ? " ↑" : one.sorted === "descending" ? " ↓" : " ↕"}
                </span>
              </button>
            ) : (
              one.title
            )}
          </span>
        ))}
      </div>
      <div class="body" role="rowgroup" style={{ height: `${rows.length * rowHeight}px`, minWidth: `${least}rem` }}>
        {rows.slice(start, last).map((row, offset) => {
          const place = start + offset;
          return (
            <Line
              key={id(row, place)}
              id={`${name}-${place}`}
              row={row}
              place={place}
              top={place * rowHeight}
              columns={columns}
              active={place === active}
              onActive={setActive}
              onOpen={onOpen}
            />
          );
        })}
      </div>
    </div>
  );
}

interface Shown<Row> extends Pick<Props<Row>, "columns" | "onOpen"> {
  id: string;
  row: Row;
  place: number;
  /** In px. */
  top: number;
  active: boolean;
  onActive: (place: number) => void;
}

/** A row, made anew only if something of it is another: not because others come into sight. */
function Line<Row>({ id, row, place, top, columns, active, onActive, onOpen }: Shown<Row>) {
  return useMemo(
    () => (
      <div
        id={id}
        role="row"
        aria-rowindex={place + 2}
        aria-selected={active}
        class={`${onOpen ? "opens" : ""}${active ? " active" : ""}`}
        style={{ transform: `translateY(${top}px)` }}
        onClick={(event) => {
          onActive(place);
          if (!(event.target as Element).closest("a, button, input")) onOpen?.(row, place);
        }}
      >
        {columns.map((one) => (
          <span key={one.key} role="gridcell" class={one.end ? "end" : undefined}>
            {one.cell(row, place)}
          </span>
        ))}
      </div>
    ),
    [id, row, place, top, columns, active, onActive, onOpen],
  );
}

function useColumns<Row>(all: readonly Column<Row>[]): readonly Column<Row>[] {
  const [few, setFew] = useState(narrow.matches);
  useEffect(() => {
    const changed = () => setFew(narrow.matches);
    narrow.addEventListener("change", changed);
    return () => narrow.removeEventListener("change", changed);
  }, []);
  return useMemo(() => (few ? all.filter((one) => !one.wide) : all), [few, all]);
}
