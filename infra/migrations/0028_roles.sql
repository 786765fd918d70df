-- Who may do what here: a role for each function, none of which logs in by itself. Deploys make logins that become one
-- of these (infra/logins.py); what each may do to the tables of schema rowmill is listed in infra/grants.py. Only
-- rowmill_define may make, change or drop a table; it owns those of all datasets, and grants what is listed here.

DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['api', 'split', 'load', 'settle', 'bury', 'sweep', 'notify', 'receipt', 'render',
                                'doctor', 'define'] LOOP
        -- Roles are the server's: another database of it may have made them.
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rowmill_' || name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', 'rowmill_' || name);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA rowmill, data, stage TO %I', 'rowmill_' || name);
    END LOOP;
    -- Whoever migrates hands over what it made, and goes on being able to.
    EXECUTE format('GRANT rowmill_define TO %I WITH INHERIT TRUE, SET TRUE', current_user);
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO rowmill_define', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO rowmill_load, rowmill_settle, rowmill_receipt', current_database());
END $$;
-- It ends the sessions of workers whose machine has vanished.
GRANT pg_signal_backend TO rowmill_sweep;

-- A dataset's table, what its rows were before, and beside each a view of all its columns, through which the API inserts:
-- INSERT on a table would be COPY into it, too, and into a view Postgres copies nothing.
CREATE FUNCTION rowmill.open_dataset(dataset integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE here text := format('data.d_%s', dataset); name text; numbers text; BEGIN
    FOREACH name IN ARRAY ARRAY[here, here || '_before'] LOOP
        EXECUTE format('CREATE OR REPLACE VIEW %s_by_hand AS TABLE %s', name, name);
        EXECUTE format('GRANT SELECT, INSERT ON %s_by_hand TO rowmill_api', name);
    END LOOP;
    EXECUTE format('GRANT SELECT ON %s TO rowmill_receipt, rowmill_doctor', here);
    EXECUTE format('GRANT SELECT, UPDATE, DELETE ON %s TO rowmill_api', here);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %s TO rowmill_load', here);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s, %s_before TO rowmill_settle', here, here);
    EXECUTE format('GRANT INSERT ON %s_before TO rowmill_load', here);
    -- It removes rows that are to go, and reads nothing of them but their numbers.
    SELECT string_agg(quote_ident(attname), ', ') INTO numbers FROM pg_attribute
        WHERE attrelid = here::regclass AND (attname = '_row' OR attidentity <> '');
    EXECUTE format('GRANT SELECT (%s), DELETE ON %s TO rowmill_sweep', numbers, here);
    EXECUTE format('GRANT SELECT, DELETE ON %s_before TO rowmill_sweep', here);
END $$;
REVOKE EXECUTE ON FUNCTION rowmill.open_dataset FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rowmill.open_dataset TO rowmill_define;

-- An upload's stage, made when its file is split and dropped by whoever draws its end: done as rowmill_define, so that
-- these have no other table made or dropped.
CREATE FUNCTION rowmill.make_stage(upload integer) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE stage text := format('stage.u_%s', upload); here integer; BEGIN
    SELECT u.dataset INTO STRICT here FROM rowmill.upload u WHERE number = upload;
    EXECUTE format('CREATE TABLE IF NOT EXISTS %s (LIKE data.d_%s INCLUDING CONSTRAINTS INCLUDING IDENTITY)', stage, here);
    EXECUTE format('GRANT INSERT ON %s TO rowmill_load', stage);
    EXECUTE format('GRANT SELECT, MAINTAIN ON %s TO rowmill_settle', stage);
END $$;
CREATE FUNCTION rowmill.drop_stage(upload integer) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    EXECUTE format('DROP TABLE IF EXISTS stage.u_%s', upload);
END $$;
REVOKE EXECUTE ON FUNCTION rowmill.make_stage, rowmill.drop_stage FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rowmill.make_stage TO rowmill_split;
GRANT EXECUTE ON FUNCTION rowmill.drop_stage TO rowmill_api, rowmill_split, rowmill_load, rowmill_settle, rowmill_bury,
    rowmill_sweep;

-- What is there already is handed over.
GRANT CREATE ON SCHEMA rowmill TO rowmill_define;
ALTER FUNCTION rowmill.make_stage OWNER TO rowmill_define;
ALTER FUNCTION rowmill.drop_stage OWNER TO rowmill_define;
REVOKE CREATE ON SCHEMA rowmill FROM rowmill_define;
ALTER SCHEMA data OWNER TO rowmill_define;
ALTER SCHEMA stage OWNER TO rowmill_define;
DO $$ DECLARE here record; BEGIN
    FOR here IN SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ten\_%' LOOP
        EXECUTE format('ALTER SCHEMA %I OWNER TO rowmill_define', here.nspname);
    END LOOP;
    FOR here IN SELECT c.oid::regclass AS name, relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                WHERE relkind IN ('r', 'p', 'v') AND (nspname IN ('data', 'stage') OR nspname LIKE 'ten\_%') LOOP
        EXECUTE format('ALTER %s %s OWNER TO rowmill_define', CASE here.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END,
                       here.name);
    END LOOP;
END $$;
GRANT INSERT ON ALL TABLES IN SCHEMA stage TO rowmill_load;
GRANT SELECT, MAINTAIN ON ALL TABLES IN SCHEMA stage TO rowmill_settle;
SET LOCAL ROLE rowmill_define;
DO $$ DECLARE here text; BEGIN
    FOR here IN SELECT substring(relname FROM '^d_(\d+)_before$') FROM pg_class WHERE relnamespace = 'data'::regnamespace
                AND relname ~ '^d_\d+_before$' LOOP
        PERFORM rowmill.open_dataset(here::integer);
    END LOOP;
END $$;
RESET ROLE;
