// The type of a board as JSON. Grafana's own type has enums where JSON has their words, and knows of a query only
// what all sources share; the rest is taken as it is.
import type { Dashboard, DataQuery } from "@grafana/schema";

interface PrometheusQuery extends DataQuery {
  expr: string;
  format: "time_series" | "table" | "heatmap";
  instant: boolean;
  legendFormat: string;
  range: boolean;
}

// What the source of annotations reads of them beside their query.
interface PrometheusAnnotation {
  tagKeys: string;
  target: PrometheusQuery;
  titleFormat: string;
}

type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer One)[]
    ? Plain<One>[]
    : T extends { iconColor: string }
      ? { [K in keyof T as Exclude<K, "target">]: Plain<T[K]> } & PrometheusAnnotation
      : T extends object
        ? { [K in keyof T]: Plain<T[K]> }
        : T;

export type Board = Plain<Dashboard>;
