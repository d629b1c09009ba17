"""Models beside the catalog that formulas are compared with engines for."""

from __future__ import annotations

from corral.planner.architecture import Architecture

#: Models that are not in the catalog, as their GGUF headers have them.
OTHERS = {
    "qwen3-32b": Architecture("qwen3", 64, 64, 8, 128, 128, 5120, 25600, 151936, 40960),
    "qwen3-0.6b": Architecture("qwen3", 28, 16, 8, 128, 128, 1024, 3072, 151936, 40960, tied=True),
    "llama3.2-1b": Architecture("llama", 16, 32, 8, 64, 64, 2048, 8192, 128256, 131072, tied=True),
    "llama3.2-3b": Architecture("llama", 28, 24, 8, 128, 128, 3072, 8192, 128256, 131072, tied=True),
    "mistral-7b": Architecture("llama", 32, 32, 8, 128, 128, 4096, 14336, 32768, 32768),
    "qwen2.5-0.5b": Architecture("qwen2", 24, 14, 2, 64, 64, 896, 4864, 151936, 32768, tied=True),
}
#: Models with windows, experts or norms of their own.
MIXED = {
    **{
        f"gemma3-{size}": Architecture(
            "gemma3", layers, heads, kv_heads, length, length, embedding, feed_forward, 262144, 131072, tied=True,
            window=1024, sliding=tuple(block % 6 < 5 for block in range(layers)), post_norms=True,
        )
        for size, layers, heads, kv_heads, length, embedding, feed_forward in (
            ("4b", 34, 8, 4, 256, 2560, 10240), ("12b", 48, 16, 8, 256, 3840, 15360),
            ("27b", 62, 32, 16, 128, 5376, 21504),
        )
    },
    "qwen3-30b-a3b": Architecture(
        "qwen3moe", 48, 32, 4, 128, 128, 2048, 0, 151936, 40960, experts=128, experts_used=8, expert_feed_forward=768,
    ),
    "gpt-oss-20b": Architecture(
        "gpt-oss", 24, 64, 8, 64, 64, 2880, 0, 201088, 131072, window=128,
        sliding=tuple(block % 2 < 1 for block in range(24)), experts=32, experts_used=4,
        expert_feed_forward=2880,
    ),
    "phi3-mini": Architecture("phi3", 32, 32, 32, 96, 96, 3072, 8192, 32064, 131072, fused_qkv=True),
    "phi4-14b": Architecture("phi3", 40, 40, 10, 128, 128, 5120, 17920, 100352, 16384, fused_qkv=True),
}  # fmt: skip
