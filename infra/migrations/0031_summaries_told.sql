-- Whether it was made up: at a table that was just loaded there is often an autovacuum, which is not to be ended. It does
-- the same at its end, so who has many chunks to look at had better wait for it.
DROP FUNCTION rowmill.summarize_dataset;
CREATE FUNCTION rowmill.summarize_dataset(dataset integer) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '900ms' AS $$
DECLARE here regclass := to_regclass(format('data.d_%s', dataset)); BEGIN
    PERFORM brin_summarize_new_values(indexrelid)
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
    WHERE (indrelid = here OR indrelid IN (SELECT relid FROM pg_partition_tree(here)))
      AND relkind = 'i' AND amname = 'brin';
    RETURN true;
EXCEPTION WHEN lock_not_available THEN RETURN false; WHEN undefined_table OR undefined_object THEN RETURN true;
END $$;
REVOKE EXECUTE ON FUNCTION rowmill.summarize_dataset FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rowmill.summarize_dataset TO rowmill_receipt;
GRANT CREATE ON SCHEMA rowmill TO rowmill_define;
ALTER FUNCTION rowmill.summarize_dataset OWNER TO rowmill_define;
REVOKE CREATE ON SCHEMA rowmill FROM rowmill_define;
