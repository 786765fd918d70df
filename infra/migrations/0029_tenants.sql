-- Tenants are held apart by keys, too; and uploads and accounts can be deleted with all that is theirs.

-- An upload is opened by a message; whatever that says, it is its announcement's tenant's. Not for rows that are there.
CREATE UNIQUE INDEX announcement_of_tenant ON rowmill.announcement (tenant, upload_id);
ALTER TABLE rowmill.upload ADD CONSTRAINT upload_of_its_tenant FOREIGN KEY (tenant, upload_id)
    REFERENCES rowmill.announcement (tenant, upload_id) NOT VALID;

ALTER TABLE rowmill.announcement ADD COLUMN erase_rows boolean NOT NULL DEFAULT false;

-- A tenant whose account was deleted. `erase_at`: when the sweep is to remove what is left of it: at once; once more when
-- no token, no form and no message of it can be under way; and last when no queue can hold a message any more.
ALTER TABLE rowmill.tenant ADD COLUMN erased_at timestamptz;
ALTER TABLE rowmill.tenant ADD COLUMN erase_at timestamptz;
CREATE INDEX tenant_to_erase ON rowmill.tenant (erase_at) WHERE erase_at IS NOT NULL;

-- The tables of such a tenant, dropped as their owner: the sweep drops no others.
CREATE FUNCTION rowmill.erase_dataset(dataset integer) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    PERFORM FROM rowmill.dataset d JOIN rowmill.tenant USING (tenant) WHERE d.number = dataset AND erased_at IS NOT NULL;
    IF FOUND THEN
        EXECUTE format('DROP TABLE IF EXISTS data.d_%s, data.d_%s_before CASCADE', dataset, dataset);
    END IF;
END $$;
CREATE FUNCTION rowmill.erase_views(erased text) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    PERFORM FROM rowmill.tenant WHERE tenant = erased AND erased_at IS NOT NULL;
    IF FOUND THEN
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', erased);
    END IF;
END $$;
REVOKE EXECUTE ON FUNCTION rowmill.erase_dataset, rowmill.erase_views FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rowmill.erase_dataset, rowmill.erase_views TO rowmill_sweep;
GRANT CREATE ON SCHEMA rowmill TO rowmill_define;
ALTER FUNCTION rowmill.erase_dataset OWNER TO rowmill_define;
ALTER FUNCTION rowmill.erase_views OWNER TO rowmill_define;
REVOKE CREATE ON SCHEMA rowmill FROM rowmill_define;
