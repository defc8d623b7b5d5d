// a comment with a brace {
.version 7.1
.target sm_80
.address_size 64

.extern .shared .align 1024 .b8 dyn_smem[];
.global .align 4 .b8 table[8] = {1, 0, 0, 0, 2};
.const .align 4 .b8 unused[4] = {9};
.func (.param .b32 func_retval0) twice(.param .b32 twice_param_0);
.func (.param .b32 func_retval0) lookup(
	.param .b32 lookup_param_0
)
{
	mov.b64 %rd2, table;
	call.uni (retval0), twice, (param0);
	ret;
}
.func (.param .b32 func_retval0) twice(.param .b32 twice_param_0)
{
	ret;
}
	// .globl	fill
.visible .entry fill(
	.param .u64 .ptr .align 1 fill_param_0
)
{
	{ // callseq 0 }
	call.uni (retval0), lookup, (param0);
	}
	ret;

}
.visible .entry stage()
{
	mov.b32 %r1, dyn_smem;
	.pragma "nounroll; }";
	ret;
}
