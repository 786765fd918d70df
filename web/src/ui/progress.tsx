/** How much of something is done; without a value, that it is under way. */
interface Props {
  value: number | null;
  max?: number;
  label: string;
}

export function Progress({ value, max = 100, label }: Props) {
  const part = value === null || max <= 0 ? null : Math.min(1, Math.max(0, value / max));
  return (
    <div
      class={part === null ? "progress unknown" : "progress"}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={max > 0 ? max : 100}
      aria-valuenow={part === null ? undefined : (value ?? undefined)}
    >
      <div style={{ transform: part === null ? undefined : `scaleX(${part})` }} />
    </div>
  );
}
