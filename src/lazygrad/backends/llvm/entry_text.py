"""The stubs as LLVM text: what a built-in function does between Python and the body of a plan. See `entry` for records.

Placeholders: `$data` is where an ndarray keeps its data pointer, `$type` where an object keeps its type; a line such as
`$Save` reads the address of an outside function, `%Save`, from the externs table (args[0]).
"""

from __future__ import annotations

CALLED = {
    "Save": "PyEval_SaveThread", "Restore": "PyEval_RestoreThread", "Inc": "Py_IncRef", "Dec": "Py_DecRef",
    "Call": "PyObject_CallNoArgs", "Vector": "PyObject_Vectorcall", "AsDouble": "PyFloat_AsDouble",
    "FromDouble": "PyFloat_FromDouble", "AsLong": "PyLong_AsLongLong", "FromLong": "PyLong_FromLongLong",
    "FromBool": "PyBool_FromLong", "NewTuple": "PyTuple_New", "SetItem": "PyTuple_SetItem",
    "Occurred": "PyErr_Occurred", "Clear": "PyErr_Clear",
}

# from `self` to the record %r, the arguments and the externs; %idle: no other thread is inside
_ENTER = """\
entry:
  %place = getelementptr i8, ptr %self, i64 $data
  %r = load ptr, ptr %place
  %argsp = getelementptr i64, ptr %r, i64 8
  %args = load ptr, ptr %argsp
  %externs = load ptr, ptr %args
  %busyp = getelementptr i64, ptr %r, i64 14
  %busy = load i64, ptr %busyp
  %idle = icmp eq i64 %busy, 0
"""

# the arena: its base into args[1], unless a plan that runs in another thread has it
_ARENA = """\
arena:
  %arenap = getelementptr i64, ptr %r, i64 12
  %cell = load ptr, ptr %arenap
  %without = icmp eq ptr %cell, null
  br i1 %without, label %ready, label %taken
taken:
  %lock = load i64, ptr %cell
  %free = icmp eq i64 %lock, 0
  br i1 %free, label %base, label %slow
base:
  %basep = getelementptr i64, ptr %cell, i64 1
  %address = load i64, ptr %basep
  %arg1 = getelementptr i64, ptr %args, i64 1
  store i64 %address, ptr %arg1
  br label %ready
"""

# %body on %args, without the GIL where the record says so; then %clean: no fault was left
_RUN = """\
  %faultp = getelementptr i64, ptr %args, i64 2
  %faultcell = load ptr, ptr %faultp
  store i64 0, ptr %faultcell
  %flagsp = getelementptr i64, ptr %r, i64 4
  %flags = load i64, ptr %flagsp
  %bit = and i64 %flags, 1
  %hold = icmp eq i64 %bit, 0
  br i1 %hold, label %held, label %released
held:
  call void %body(ptr %args)
  br label %ran
released:
  store i64 1, ptr %busyp
  br i1 %without, label %leave, label %lockarena
lockarena:
  store i64 1, ptr %cell
  br label %leave
leave:
  $Save
  %thread = call ptr %Save()
  call void %body(ptr %args)
  $Restore
  call void %Restore(ptr %thread)
  store i64 0, ptr %busyp
  br i1 %without, label %ran, label %unlock
unlock:
  store i64 0, ptr %cell
  br label %ran

ran:
  %code = load i64, ptr %faultcell
  %clean = icmp eq i64 %code, 0
"""

PLAN = """
define ptr @plan(ptr %self, ptr %none) nounwind {
""" + _ENTER + """  %resultp = getelementptr i64, ptr %r, i64 5
  %result = load ptr, ptr %resultp
  %has = icmp ne ptr %result, null
  %go = and i1 %idle, %has
  br i1 %go, label %arena, label %slow

""" + _ARENA + """ready:
  br label %inputs

inputs:
  %np = getelementptr i64, ptr %r, i64 2
  %n = load i64, ptr %np
  %gp = getelementptr i64, ptr %r, i64 3
  %g = load i64, ptr %gp
  %pointersp = getelementptr i64, ptr %r, i64 9
  %pointers = load ptr, ptr %pointersp
  %slots = getelementptr i64, ptr %r, i64 16
  %first = getelementptr i64, ptr %args, i64 3
  br label %input
input:
  %i = phi i64 [0, %inputs], [%i1, %filled]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %fill, label %gradients
fill:
  %slotp = getelementptr i64, ptr %slots, i64 %i
  %slot = load i64, ptr %slotp
  %fromp = getelementptr i64, ptr %pointers, i64 %slot
  %from = load i64, ptr %fromp
  %there = icmp ne i64 %from, 0
  br i1 %there, label %filled, label %slow
filled:
  %intop = getelementptr i64, ptr %first, i64 %i
  store i64 %from, ptr %intop
  %i1 = add i64 %i, 1
  br label %input

gradients:
  %write = load ptr, ptr %r
  %plain = icmp eq i64 %g, 0
  br i1 %plain, label %chosen, label %states
states:
  %accp = getelementptr i64, ptr %r, i64 1
  %accumulate = load ptr, ptr %accp
  %gradsp = getelementptr i64, ptr %r, i64 10
  %grads = load ptr, ptr %gradsp
  %statesp = getelementptr i64, ptr %r, i64 11
  %table = load ptr, ptr %statesp
  %offsetp = getelementptr i64, ptr %r, i64 13
  %offset = load i64, ptr %offsetp
  %gout = getelementptr i64, ptr %args, i64 %offset
  %gslots = getelementptr i64, ptr %slots, i64 %n
  %s0 = load i64, ptr %gslots
  %st0p = getelementptr i8, ptr %table, i64 %s0
  %st0 = load i8, ptr %st0p
  %known = icmp ult i8 %st0, 2
  br i1 %known, label %gradient, label %slow
gradient:
  %j = phi i64 [0, %states], [%j1, %placed]
  %jmore = icmp slt i64 %j, %g
  br i1 %jmore, label %place1, label %picked
place1:
  %gslotp = getelementptr i64, ptr %gslots, i64 %j
  %gslot = load i64, ptr %gslotp
  %stp = getelementptr i8, ptr %table, i64 %gslot
  %st = load i8, ptr %stp
  %gfromp = getelementptr i64, ptr %grads, i64 %gslot
  %gfrom = load i64, ptr %gfromp
  %alike = icmp eq i8 %st, %st0
  %gthere = icmp ne i64 %gfrom, 0
  %fine = and i1 %alike, %gthere
  br i1 %fine, label %placed, label %slow
placed:
  %gintop = getelementptr i64, ptr %gout, i64 %j
  store i64 %gfrom, ptr %gintop
  %j1 = add i64 %j, 1
  br label %gradient
picked:
  %fresh = icmp eq i8 %st0, 0
  %body0 = select i1 %fresh, ptr %write, ptr %accumulate
  br label %chosen

chosen:
  %body = phi ptr [%write, %gradients], [%body0, %picked]
  %exists = icmp ne ptr %body, null
  br i1 %exists, label %run, label %slow
run:
""" + _RUN + """  br i1 %clean, label %mark, label %fault
mark:
  %ktablep = getelementptr i64, ptr %r, i64 11
  %ktable = load ptr, ptr %ktablep
  %kslots = getelementptr i64, ptr %slots, i64 %n
  br i1 %plain, label %done, label %marks
marks:
  %k = phi i64 [0, %mark], [%k1, %marks]
  %kslotp = getelementptr i64, ptr %kslots, i64 %k
  %kslot = load i64, ptr %kslotp
  %kstp = getelementptr i8, ptr %ktable, i64 %kslot
  store i8 1, ptr %kstp
  %k1 = add i64 %k, 1
  %kmore = icmp slt i64 %k1, %g
  br i1 %kmore, label %marks, label %done
done:
  $Inc
  call void %Inc(ptr %result)
  ret ptr %result
slow:
  %slowp = getelementptr i64, ptr %r, i64 6
  %slowf = load ptr, ptr %slowp
  br label %leavepy
fault:
  %faultfp = getelementptr i64, ptr %r, i64 7
  %faultf = load ptr, ptr %faultfp
  br label %leavepy
leavepy:
  %py = phi ptr [%slowf, %slow], [%faultf, %fault]
  $Call
  %out = call ptr %Call(ptr %py)
  ret ptr %out
}
"""

PREPARED = """
define ptr @prepared(ptr %self, ptr %given, i64 %count) nounwind {
""" + _ENTER + """  %np = getelementptr i64, ptr %r, i64 1
  %n = load i64, ptr %np
  %right = icmp eq i64 %count, %n
  %go = and i1 %idle, %right
  %rows = getelementptr i64, ptr %r, i64 16
  br i1 %go, label %arena, label %slow

""" + _ARENA + """ready:
  br label %leaves

leaves:
  %mp = getelementptr i64, ptr %r, i64 3
  %m = load i64, ptr %mp
  %kp = getelementptr i64, ptr %r, i64 2
  %k = load i64, ptr %kp
  %nk = add i64 %n, %k
  %nk2 = shl i64 %nk, 1
  %leafrows = getelementptr i64, ptr %rows, i64 %nk2
  %pointersp = getelementptr i64, ptr %r, i64 9
  %pointers = load ptr, ptr %pointersp
  br label %leaf
leaf:
  %l = phi i64 [0, %leaves], [%l1, %leafset]
  %lmore = icmp slt i64 %l, %m
  br i1 %lmore, label %leafget, label %numbers
leafget:
  %l2 = shl i64 %l, 1
  %lslotp = getelementptr i64, ptr %leafrows, i64 %l2
  %lslot = load i64, ptr %lslotp
  %lposp = getelementptr i64, ptr %lslotp, i64 1
  %lpos = load i64, ptr %lposp
  %lfromp = getelementptr i64, ptr %pointers, i64 %lslot
  %lfrom = load i64, ptr %lfromp
  %lthere = icmp ne i64 %lfrom, 0
  br i1 %lthere, label %leafset, label %slow
leafset:
  %lintop = getelementptr i64, ptr %args, i64 %lpos
  store i64 %lfrom, ptr %lintop
  %l1 = add i64 %l, 1
  br label %leaf

numbers:
  br label %number
number:
  %i = phi i64 [0, %numbers], [%i1, %numberset]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %look, label %run
look:
  %op = getelementptr ptr, ptr %given, i64 %i
  %o = load ptr, ptr %op
  %typep = getelementptr i8, ptr %o, i64 $type
  %type = load i64, ptr %typep
  %i2 = shl i64 %i, 1
  %kindp = getelementptr i64, ptr %rows, i64 %i2
  %kind = load i64, ptr %kindp
  %intop = getelementptr i64, ptr %kindp, i64 1
  %into = load ptr, ptr %intop
  %floatp = getelementptr i64, ptr %r, i64 10
  %floattype = load i64, ptr %floatp
  %isfloat = icmp eq i64 %type, %floattype
  br i1 %isfloat, label %afloat, label %maybeint
afloat:
  %isint64 = icmp eq i64 %kind, 2
  br i1 %isint64, label %slow, label %todouble
maybeint:
  %intp = getelementptr i64, ptr %r, i64 11
  %inttype = load i64, ptr %intp
  %isint = icmp eq i64 %type, %inttype
  br i1 %isint, label %anint, label %slow
anint:
  %wants = icmp eq i64 %kind, 2
  br i1 %wants, label %tolong, label %todouble
tolong:
  $AsLong
  %long = call i64 %AsLong(ptr %o)
  store i64 %long, ptr %into
  %odd0 = icmp eq i64 %long, -1
  br i1 %odd0, label %check, label %numberset
todouble:
  $AsDouble
  %double = call double %AsDouble(ptr %o)
  %isf32 = icmp eq i64 %kind, 0
  br i1 %isf32, label %single, label %full
single:
  %short = fptrunc double %double to float
  store float %short, ptr %into
  br label %doubleset
full:
  store double %double, ptr %into
  br label %doubleset
doubleset:
  %odd1 = fcmp oeq double %double, -1.0
  br i1 %odd1, label %check, label %numberset
check:
  $Occurred
  %error = call ptr %Occurred()
  %bad = icmp ne ptr %error, null
  br i1 %bad, label %clear, label %numberset
clear:
  $Clear
  call void %Clear()
  br label %slow
numberset:
  %i1 = add i64 %i, 1
  br label %number

run:
  %body = load ptr, ptr %r
  %exists = icmp ne ptr %body, null
  br i1 %exists, label %start, label %slow
start:
""" + _RUN + """  br i1 %clean, label %answer, label %fault
answer:
  %n2 = shl i64 %n, 1
  %outrows = getelementptr i64, ptr %rows, i64 %n2
  %rbit = and i64 %flags, 2
  %asresult = icmp ne i64 %rbit, 0
  br i1 %asresult, label %same, label %numbersout
same:
  %resultp = getelementptr i64, ptr %r, i64 5
  %result = load ptr, ptr %resultp
  $Inc
  call void %Inc(ptr %result)
  ret ptr %result
numbersout:
  %tbit = and i64 %flags, 4
  %astuple = icmp ne i64 %tbit, 0
  br i1 %astuple, label %tuple, label %alone
alone:
  %only = call ptr @number(ptr %externs, ptr %outrows)
  ret ptr %only
tuple:
  $NewTuple
  %made = call ptr %NewTuple(i64 %k)
  %nomemory = icmp eq ptr %made, null
  br i1 %nomemory, label %fail, label %item
item:
  %j = phi i64 [0, %tuple], [%j1, %itemset]
  %jmore = icmp slt i64 %j, %k
  br i1 %jmore, label %itemget, label %finish
itemget:
  %j2 = shl i64 %j, 1
  %row = getelementptr i64, ptr %outrows, i64 %j2
  %one = call ptr @number(ptr %externs, ptr %row)
  %none = icmp eq ptr %one, null
  br i1 %none, label %drop, label %itemset
itemset:
  $SetItem
  %rc = call i32 %SetItem(ptr %made, i64 %j, ptr %one)
  %j1 = add i64 %j, 1
  br label %item
finish:
  ret ptr %made
drop:
  $Dec
  call void %Dec(ptr %made)
  br label %fail
fail:
  ret ptr null
slow:
  %slowp = getelementptr i64, ptr %r, i64 6
  %slowf = load ptr, ptr %slowp
  $Vector
  %slowout = call ptr %Vector(ptr %slowf, ptr %given, i64 %count, ptr null)
  ret ptr %slowout
fault:
  %faultfp = getelementptr i64, ptr %r, i64 7
  %faultf = load ptr, ptr %faultfp
  $Call
  %faultout = call ptr %Call(ptr %faultf)
  ret ptr %faultout
}

define internal ptr @number(ptr %externs, ptr %row) nounwind {
  %kind = load i64, ptr %row
  %fromp = getelementptr i64, ptr %row, i64 1
  %from = load ptr, ptr %fromp
  switch i64 %kind, label %single [ i64 1, label %double i64 2, label %long i64 3, label %bool ]
single:
  %f = load float, ptr %from
  %fd = fpext float %f to double
  br label %float
double:
  %d = load double, ptr %from
  br label %float
float:
  %x = phi double [%fd, %single], [%d, %double]
  $FromDouble
  %xo = call ptr %FromDouble(double %x)
  ret ptr %xo
long:
  %i = load i64, ptr %from
  $FromLong
  %io = call ptr %FromLong(i64 %i)
  ret ptr %io
bool:
  %b = load i8, ptr %from
  %bl = zext i8 %b to $clong
  $FromBool
  %bo = call ptr %FromBool($clong %bl)
  ret ptr %bo
}
"""

# `called(self, (code, lasti, *arguments), count)`: see `entry.bind_tensors`. Whatever is unusual returns None, and Python does it.
CALL = """
define ptr @called(ptr %self, ptr %given, i64 %count) nounwind {
""" + _ENTER + """  %np = getelementptr i64, ptr %r, i64 1
  %n = load i64, ptr %np
  %n2 = add i64 %n, 2
  %right = icmp eq i64 %count, %n2
  %caller = load ptr, ptr %given
  %code0p = getelementptr i64, ptr %r, i64 6
  %code0 = load ptr, ptr %code0p
  %code1p = getelementptr i64, ptr %r, i64 7
  %code1 = load ptr, ptr %code1p
  %is0 = icmp eq ptr %caller, %code0
  %is1 = icmp eq ptr %caller, %code1
  %user = or i1 %is0, %is1
  %go0 = and i1 %idle, %right
  %go = and i1 %go0, %user
  br i1 %go, label %arena, label %slow

""" + _ARENA + """ready:
  %rows = getelementptr i64, ptr %r, i64 24
  %scratch = getelementptr i64, ptr %rows, i64 %n
  %tensorp = getelementptr i64, ptr %r, i64 17
  %tensor = load ptr, ptr %tensorp
  %leaftypep = getelementptr i64, ptr %r, i64 18
  %leaftype = load ptr, ptr %leaftypep
  %scopep = getelementptr i64, ptr %r, i64 5
  %scope = load ptr, ptr %scopep
  $AsLong
  br label %argument
argument:
  %i = phi i64 [0, %ready], [%i1, %found]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %look, label %sources
look:
  %at = add i64 %i, 2
  %op = getelementptr ptr, ptr %given, i64 %at
  %o = load ptr, ptr %op
  %otypep = getelementptr i8, ptr %o, i64 $type
  %otype = load ptr, ptr %otypep
  %istensor = icmp eq ptr %otype, %tensor
  br i1 %istensor, label %owner, label %slow
owner:
  %ap = getelementptr i8, ptr %o, i64 $tensor_a
  %a = load ptr, ptr %ap
  %has = icmp ne ptr %a, null
  br i1 %has, label %leafy, label %slow
leafy:
  %atypep = getelementptr i8, ptr %a, i64 $type
  %atype = load ptr, ptr %atypep
  %isleaf = icmp eq ptr %atype, %leaftype
  br i1 %isleaf, label %kind, label %slow
kind:
  %tp = getelementptr i8, ptr %o, i64 $tensor_term
  %t = load ptr, ptr %tp
  %avp = getelementptr i8, ptr %t, i64 $term_aval
  %av = load ptr, ptr %avp
  %wantp = getelementptr ptr, ptr %rows, i64 %i
  %want = load ptr, ptr %wantp
  %gp = getelementptr i8, ptr %a, i64 $leaf_graph
  %graph = load ptr, ptr %gp
  %alike = icmp eq ptr %av, %want
  %here = icmp eq ptr %graph, %scope
  %fits = and i1 %alike, %here
  br i1 %fits, label %found, label %slow
found:
  %slotp = getelementptr i8, ptr %a, i64 $leaf_slot
  %sloto = load ptr, ptr %slotp
  %slot = call i64 %AsLong(ptr %sloto)
  %keep = getelementptr i64, ptr %scratch, i64 %i
  store i64 %slot, ptr %keep
  %i1 = add i64 %i, 1
  br label %argument

sources:
  %mp = getelementptr i64, ptr %r, i64 2
  %m = load i64, ptr %mp
  %kp = getelementptr i64, ptr %r, i64 3
  %k = load i64, ptr %kp
  %pointersp = getelementptr i64, ptr %r, i64 9
  %pointers = load ptr, ptr %pointersp
  %kinds = getelementptr i64, ptr %scratch, i64 %n
  %inputs = getelementptr i64, ptr %args, i64 3
  br label %source
source:
  %j = phi i64 [0, %sources], [%j1, %placed]
  %jmore = icmp slt i64 %j, %m
  br i1 %jmore, label %put, label %results
put:
  %kindp = getelementptr i64, ptr %kinds, i64 %j
  %which = load i64, ptr %kindp
  %given0 = icmp sge i64 %which, 0
  %index = select i1 %given0, i64 %which, i64 0
  %ownp = getelementptr i64, ptr %scratch, i64 %index
  %own = load i64, ptr %ownp
  %fixed = sub i64 -1, %which
  %s = select i1 %given0, i64 %own, i64 %fixed
  %fromp = getelementptr i64, ptr %pointers, i64 %s
  %from = load i64, ptr %fromp
  %there = icmp ne i64 %from, 0
  br i1 %there, label %placed, label %slow
placed:
  %intop = getelementptr i64, ptr %inputs, i64 %j
  store i64 %from, ptr %intop
  %j1 = add i64 %j, 1
  br label %source

results:
  %turnp = getelementptr i64, ptr %r, i64 19
  %turn = load i64, ptr %turnp
  %width = mul i64 %k, 6
  %skip = mul i64 %turn, %width
  %sets = getelementptr i64, ptr %kinds, i64 %m
  %set = getelementptr i64, ptr %sets, i64 %skip
  %outsp = getelementptr i64, ptr %r, i64 20
  %outsat = load i64, ptr %outsp
  %outs = getelementptr i64, ptr %args, i64 %outsat
  %bufsp = getelementptr i64, ptr %r, i64 10
  %bufs = load ptr, ptr %bufsp
  %gradsp = getelementptr i64, ptr %r, i64 13
  %grads = load ptr, ptr %gradsp
  %viewsp = getelementptr i64, ptr %r, i64 15
  %views = load ptr, ptr %viewsp
  %bufip = getelementptr i8, ptr %bufs, i64 $items
  %bufi = load ptr, ptr %bufip
  %gradip = getelementptr i8, ptr %grads, i64 $items
  %gradi = load ptr, ptr %gradip
  %viewip = getelementptr i8, ptr %views, i64 $items
  %viewi = load ptr, ptr %viewip
  %statesp = getelementptr i64, ptr %r, i64 11
  %states = load ptr, ptr %statesp
  %nonep = getelementptr i64, ptr %r, i64 21
  %none = load ptr, ptr %nonep
  br label %result
result:
  %q = phi i64 [0, %results], [%q1, %unused]
  %qmore = icmp slt i64 %q, %k
  br i1 %qmore, label %known, label %run
known:
  %q6 = mul i64 %q, 6
  %row = getelementptr i64, ptr %set, i64 %q6
  %leaf = load ptr, ptr %row
  %made = icmp ne ptr %leaf, null
  br i1 %made, label %counts, label %slow
counts:
  %arrayp = getelementptr i64, ptr %row, i64 1
  %array = load ptr, ptr %arrayp
  %underp = getelementptr i64, ptr %row, i64 2
  %under = load ptr, ptr %underp
  %rslotp = getelementptr i64, ptr %row, i64 3
  %rslot = load i64, ptr %rslotp
  %placep = getelementptr i64, ptr %row, i64 5
  %into = load i64, ptr %placep
  %c0p = getelementptr i8, ptr %leaf, i64 $count
  %c0 = load i32, ptr %c0p
  %c1p = getelementptr i8, ptr %array, i64 $count
  %c1 = load i32, ptr %c1p
  %c2p = getelementptr i8, ptr %under, i64 $count
  %c2 = load i32, ptr %c2p
  %stp = getelementptr i8, ptr %states, i64 %rslot
  %st = load i8, ptr %stp
  %bp = getelementptr ptr, ptr %bufi, i64 %rslot
  %b = load ptr, ptr %bp
  %gxp = getelementptr ptr, ptr %gradi, i64 %rslot
  %gx = load ptr, ptr %gxp
  %vxp = getelementptr ptr, ptr %viewi, i64 %rslot
  %vx = load ptr, ptr %vxp
  %f0 = icmp eq i32 %c0, 1
  %f1 = icmp eq i32 %c1, 3
  %f2 = icmp eq i32 %c2, 2
  %f3 = icmp eq i8 %st, 0
  %f4 = icmp eq ptr %b, %array
  %f5 = icmp eq ptr %gx, %none
  %f6 = icmp eq ptr %vx, %none
  %g0 = and i1 %f0, %f1
  %g1 = and i1 %f2, %f3
  %g2 = and i1 %f4, %f5
  %g3 = and i1 %g0, %g1
  %g4 = and i1 %g2, %f6
  %isfree = and i1 %g3, %g4
  br i1 %isfree, label %unused, label %slow
unused:
  %outp = getelementptr i64, ptr %outs, i64 %q
  store i64 %into, ptr %outp
  %q1 = add i64 %q, 1
  br label %result

run:
  %body = load ptr, ptr %r
""" + _RUN + """  br i1 %clean, label %answer, label %slow
answer:
  %next = sub i64 1, %turn
  store i64 %next, ptr %turnp
  %lastip = getelementptr ptr, ptr %given, i64 1
  %lasti = load ptr, ptr %lastip
  %tbit = and i64 %flags, 4
  %astuple = icmp ne i64 %tbit, 0
  $Inc
  br label %held0
held0:
  %w = phi i64 [0, %answer], [%w1, %owned]
  %wmore = icmp slt i64 %w, %k
  br i1 %wmore, label %owned, label %give
owned:
  %w6 = mul i64 %w, 6
  %wrow = getelementptr i64, ptr %set, i64 %w6
  %wleaf = load ptr, ptr %wrow
  call void %Inc(ptr %wleaf)
  %w1 = add i64 %w, 1
  br label %held0
give:
  br i1 %astuple, label %tuple, label %alone
alone:
  %only = call ptr @handle(ptr %externs, ptr %r, ptr %set, ptr %caller, ptr %lasti)
  ret ptr %only
tuple:
  $NewTuple
  $SetItem
  $Dec
  %all = call ptr %NewTuple(i64 %k)
  %nomemory = icmp eq ptr %all, null
  br i1 %nomemory, label %fail, label %item
item:
  %p = phi i64 [0, %tuple], [%p1, %itemset]
  %pmore = icmp slt i64 %p, %k
  br i1 %pmore, label %itemget, label %finish
itemget:
  %p6 = mul i64 %p, 6
  %prow = getelementptr i64, ptr %set, i64 %p6
  %one = call ptr @handle(ptr %externs, ptr %r, ptr %prow, ptr %caller, ptr %lasti)
  %missing = icmp eq ptr %one, null
  br i1 %missing, label %drop, label %itemset
itemset:
  %rc = call i32 %SetItem(ptr %all, i64 %p, ptr %one)
  %p1 = add i64 %p, 1
  br label %item
finish:
  ret ptr %all
drop:
  call void %Dec(ptr %all)
  br label %fail
fail:
  ret ptr null
slow:
  %slownonep = getelementptr i64, ptr %r, i64 21
  %slownone = load ptr, ptr %slownonep
  %sIncp = getelementptr ptr, ptr %externs, i64 $IncAt
  %sInc = load ptr, ptr %sIncp
  call void %sInc(ptr %slownone)
  ret ptr %slownone
}

define internal ptr @handle(ptr %externs, ptr %r, ptr %row, ptr %code, ptr %lasti) nounwind {
  $Call
  $Inc
  %typep = getelementptr i64, ptr %r, i64 17
  %type = load ptr, ptr %typep
  %h = call ptr %Call(ptr %type)
  %bad = icmp eq ptr %h, null
  br i1 %bad, label %out, label %fill
fill:
  %leaf = load ptr, ptr %row
  %termp = getelementptr i64, ptr %row, i64 4
  %term = load ptr, ptr %termp
  %nonep = getelementptr i64, ptr %r, i64 21
  %none = load ptr, ptr %nonep
  call void %Inc(ptr %term)
  call void %Inc(ptr %none)
  call void %Inc(ptr %code)
  call void %Inc(ptr %lasti)
  %h0 = getelementptr i8, ptr %h, i64 $tensor_a
  store ptr %leaf, ptr %h0
  %h1 = getelementptr i8, ptr %h, i64 $tensor_term
  store ptr %term, ptr %h1
  %h2 = getelementptr i8, ptr %h, i64 $tensor_b
  store ptr %none, ptr %h2
  %h3 = getelementptr i8, ptr %h, i64 $tensor_code
  store ptr %code, ptr %h3
  %h4 = getelementptr i8, ptr %h, i64 $tensor_lasti
  store ptr %lasti, ptr %h4
  br label %out
out:
  ret ptr %h
}
"""
