-- What always goes together is written by one statement. The members of a call
-- come with it, and their primary key refuses a second call of either.
CREATE TRIGGER call_has_members AFTER INSERT ON calls BEGIN
	INSERT INTO call_members (user_id, room_id) VALUES (NEW.caller_id, NEW.room_id), (NEW.callee_id, NEW.room_id);
END;

-- A history says until when it keeps the two apart, and does.
ALTER TABLE histories ADD COLUMN apart_until INTEGER;
CREATE TRIGGER history_keeps_apart AFTER INSERT ON histories WHEN NEW.apart_until IS NOT NULL BEGIN
	INSERT INTO cooldowns (user_id, other_id, until) VALUES (NEW.user_id, NEW.other_id, NEW.apart_until)
	ON CONFLICT (user_id, other_id) DO UPDATE SET until = max(until, excluded.until);
END;
