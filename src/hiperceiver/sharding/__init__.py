"""One HiP over several processes, by groups: for inputs that are too large for one device."""

from hiperceiver.sharding.sharded_hip import ShardedHiP

__all__ = ["ShardedHiP"]
